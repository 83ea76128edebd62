"""Which network addresses an alert may be sent to, and the one that a connection is pinned to.

A host's name is looked up once: what was checked is what is connected to, so that a name server that answers
differently the second time (DNS rebinding) reaches nothing. IPv6 forms that carry an IPv4 address (mapped, 6to4,
Teredo, NAT64) are judged by that one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from forgeline.errors import ForgelineError

IPAddress = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
# Besides what Python calls private: a cloud that answers its own machines there, and numbers kept for protocols.
_INSIDE = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"), IPv6Network("64:ff9b:1::/48"))


class Refused(ForgelineError):
    """An address that may not be connected to."""


def pinned(host: str, port: int, *, allow_private: bool, key: str) -> list[IPAddress]:
    """The addresses of a host, each of which may be connected to.

    Args:
        host: name or number, as it stands in the URL.
        port: TCP port.
        allow_private: whether private, loopback and link-local ones may be.
        key: of the specification, for the message.

    Raises:
        Refused: the name leads nowhere, or to an address that may not be connected to; one is enough.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{key}: the name {host!r} leads nowhere: {error}") from error
    addresses = list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
    for address in addresses:
        if (reason := refusal(address, allow_private=allow_private)) is not None:
            raise Refused(f"{key}: {host!r} leads to {address}, which is {reason}")
    return addresses


def refusal(address: IPAddress, *, allow_private: bool) -> str | None:
    """Why an address may not be connected to; None where it may.

    >>> refusal(ip_address("::ffff:169.254.169.254"), allow_private=False)
    'inside a network; allowed: public addresses, or others with `allow_private: true`'
    """
    for each in (address, *_carried(address)):
        if each.is_unspecified or each.is_multicast or str(each) == "255.255.255.255":
            return "no address of a host"
        inside = not each.is_global or any(each in net for net in _INSIDE)
        # The prefix of a translation is judged by what it carries.
        translated = isinstance(each, IPv6Address) and each is address and bool([*_carried(each)])
        if inside and not translated and not allow_private:
            return "inside a network; allowed: public addresses, or others with `allow_private: true`"
    return None


def _carried(address: IPAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 one stands for."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
