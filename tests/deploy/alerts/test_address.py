"""Addresses inside a network are refused in every form; a name is looked up once."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from forgeline_deploy.alerts.address import Refused, pinned, refusal
from forgeline_deploy.alerts.posting import DeliveryFailed, post

INSIDE = """127.0.0.1 127.8.8.8 10.0.0.1 172.16.3.4 192.168.1.1 169.254.169.254 100.100.100.200 168.63.129.16
192.0.0.192 ::1 fe80::1 fd00:ec2::254 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:a00:1 ::127.0.0.1 2002:7f00:1::1
64:ff9b::a9fe:a9fe 64:ff9b::7f00:1 64:ff9b:1::808:808 2001:0:4136:e378:8000:63bf:80ff:fffe""".split()


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_a_network_need_to_be_allowed(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False) is not None
    assert refusal(ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "224.0.1.5", "ff02::1", "255.255.255.255"])
def test_what_is_no_host_is_refused_always(address: str) -> None:
    assert refusal(ip_address(address), allow_private=True) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "::ffff:127.0.0.1"])
def test_however_it_is_written(host: str) -> None:
    with pytest.raises(Refused, match="inside a network"):
        pinned(host, 443, allow_private=False, key="alert.webhook")


def test_one_address_inside_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 443)) for number in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: answer)
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        pinned("two.example", 443, allow_private=False, key="alert.webhook")


def test_what_was_checked_is_what_is_connected_to(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that says something else the second time is not asked a second time."""
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *given: Any, **named: Any) -> Any:
        if host != "rebinding.example":
            return look_up(host, port, *given, **named)
        asked.append(host)
        # 203.0.113.1 is nobody's: connecting to it fails, or takes too long.
        number = "127.0.0.1" if len(asked) == 1 else "203.0.113.1"
        return look_up(number, port, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    post(f"http://rebinding.example:{receiver.port}/hook", b"{}", {}, allow_private=True, key="alert.webhook")
    assert asked == ["rebinding.example"]
    assert receiver.received[0]["headers"]["Host"] == f"rebinding.example:{receiver.port}"


@pytest.mark.parametrize("url", ["http://8.8.8.8/x", "file:///etc/passwd", "gopher://h/", "https://", "https://h:x/"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        post(url, b"", {}, allow_private=False, key="alert.webhook")


def test_redirections_are_not_followed(receiver: Any) -> None:
    with pytest.raises(DeliveryFailed, match="302, a redirection"):
        post(f"{receiver.url}/moved", b"{}", {}, allow_private=True, key="alert.webhook")
    assert [request["path"] for request in receiver.received] == ["/moved"]


def test_who_speaks_too_slowly_is_cut_off(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgeline_deploy.alerts.posting.WHOLE_S", 0.3)
    with pytest.raises(DeliveryFailed, match="no answer within 0.3 s"):
        post(f"{receiver.url}/slow", b"{}", {}, allow_private=True, key="alert.webhook")


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Any) -> None:
    """The receiver speaks no TLS at all; neither is anything sent to it."""
    with pytest.raises(DeliveryFailed, match="SSL"):
        post(f"https://127.0.0.1:{receiver.port}/hook", b"secret", {}, allow_private=True, key="alert.webhook")
    assert receiver.received == []
