"""Notices on their way over a real network, to a process that is killed, from one that is killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from forgeline.ledger.journal import Journal
from forgeline_deploy.alerts import Alert, Severity, verify_signature
from forgeline_deploy.alerts.book import AlertBook
from forgeline_deploy.alerts.dispatcher import Dispatcher
from forgeline_deploy.alerts.outbox import Outbox
from forgeline_deploy.alerts.spec import AlertmanagerConfig, LogConfig, WebhookConfig

MakeAlert = Callable[..., Alert]

SENDER = """
import sys, time
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.alerts.dispatcher import Dispatcher
from forgeline_deploy.alerts.outbox import Outbox
from forgeline_deploy.alerts.spec import WebhookConfig

ledger = Ledger(sys.argv[1])
outbox = Outbox(Journal(ledger, ledger.get("run1")))
hook = WebhookConfig(webhook="${ALERT_URL}", secret="${ALERT_SECRET}", allow_private=True)
dispatcher = Dispatcher.of(outbox, [hook])
dispatcher.tick(5000.0)
dispatcher.wait(20)
print("delivered, and not written down", flush=True)
time.sleep(60)
"""


@pytest.fixture
def hook(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> WebhookConfig:
    monkeypatch.setenv("ALERT_URL", f"{receiver.url}/hook")
    monkeypatch.setenv("ALERT_SECRET", "k3y")
    return WebhookConfig(webhook="${ALERT_URL}", secret="${ALERT_SECRET}", allow_private=True)


def carry(dispatcher: Dispatcher, now: float) -> None:
    dispatcher.tick(now)
    dispatcher.wait(20)
    dispatcher.tick(now)


def test_a_webhook_gets_signed_json_once(
    receiver: Any, hook: WebhookConfig, journal: Callable[[], Journal], alert: MakeAlert
) -> None:
    written = journal()
    AlertBook(written, [hook]).see(alert(), 1000.0)
    dispatcher = Dispatcher.of(Outbox(written), [hook])
    carry(dispatcher, 1001.0)
    carry(dispatcher, 1002.0)
    [request] = receiver.received
    body, headers = request["body"].encode(), request["headers"]
    signature = headers["X-Forgeline-Signature"]
    assert verify_signature("k3y", signature, body, now=1100.0)
    for wrong in (
        verify_signature("other", signature, body, now=1100.0),
        verify_signature("k3y", signature, body + b" ", now=1100.0),
        verify_signature("k3y", signature.replace("t=1001", "t=1101"), body, now=1100.0),
        verify_signature("k3y", signature, body, now=1302.0),
        verify_signature("k3y", "t=,v1=", body, now=1100.0),
    ):
        assert not wrong
    told = json.loads(body)
    assert told["severity"] == "ticket" and told["event"] == "raised" and told["figures"]["p"] is None
    assert headers["Idempotency-Key"] == told["notice"] == "run1-0" and told["first"] == "1970-01-01T00:16:40.000Z"
    # The secret is in no entry.
    assert "k3y" not in str(written.entries) and receiver.url not in str(written.entries)


def test_a_receiver_that_was_down_gets_all_of_it_in_order(
    receiver: Any,
    hook: WebhookConfig,
    journal: Callable[[], Journal],
    alert: MakeAlert,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.kill()
    written, log = journal(), LogConfig(log=True)
    book = AlertBook(written, [hook, log])
    book.see(alert(), 1000.0)
    book.see(alert(severity=Severity.PAGE), 1001.0)
    dispatcher = Dispatcher.of(Outbox(written), [hook, log])
    with caplog.at_level(logging.INFO, logger="forgeline.alerts"):
        for now in (1002.0, 1003.0):
            carry(dispatcher, now)
        dispatcher.wait(5)
        dispatcher.tick(1003.0)
    lines = [record.message for record in caplog.records if record.name == "forgeline.alerts"]
    assert [line.partition(":")[0] for line in lines] == ["alert raised", "alert worsened"]
    assert any("did not reach" in record.message for record in caplog.records)
    receiver.start()
    dispatcher = Dispatcher.of(Outbox(journal()), [hook, log])
    for now in (1100.0, 1101.0):
        carry(dispatcher, now)
    assert [json.loads(request["body"])["event"] for request in receiver.received] == ["raised", "worsened"]
    assert Outbox(journal()).waiting == []


def test_a_sender_killed_before_it_wrote_it_down_sends_it_again(
    receiver: Any, hook: WebhookConfig, journal: Callable[[], Journal], alert: MakeAlert, url: str
) -> None:
    written = journal()
    AlertBook(written, [hook]).see(alert(), 1000.0)
    with subprocess.Popen([sys.executable, "-c", SENDER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("delivered")
        os.kill(process.pid, signal.SIGKILL)
    assert len(receiver.received) == 1 and len(journal().entries) == 1
    dispatcher = Dispatcher.of(Outbox(journal()), [hook])
    carry(dispatcher, 6000.0)
    first, second = receiver.received
    assert first["headers"]["Idempotency-Key"] == second["headers"]["Idempotency-Key"]
    assert first["body"] == second["body"] and len(journal().entries) == 2


def test_a_variable_that_is_gone_is_told_and_tried_again(
    receiver: Any,
    hook: WebhookConfig,
    journal: Callable[[], Journal],
    alert: MakeAlert,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ALERT_SECRET")
    written = journal()
    AlertBook(written, [hook]).see(alert(), 1000.0)
    outbox = Outbox(written)
    carry(Dispatcher.of(outbox, [hook]), 1001.0)
    assert "ALERT_SECRET is not set" in str(outbox.waiting[0].error) and receiver.received == []
    monkeypatch.setenv("ALERT_SECRET", "k3y")
    carry(Dispatcher.of(outbox, [hook]), 1010.0)
    assert len(receiver.received) == 1


def test_an_alertmanager_is_told_by_its_api(receiver: Any, journal: Callable[[], Journal], alert: MakeAlert) -> None:
    manager = AlertmanagerConfig(alertmanager=f"{receiver.url}/", allow_private=True)
    written = journal()
    book, dispatcher = AlertBook(written, [manager]), Dispatcher.of(Outbox(written), [manager])
    book.see(alert(), 1000.0)
    carry(dispatcher, 1000.0)
    book.see(alert(severity=Severity.PAGE), 1100.0)
    carry(dispatcher, 1100.0)
    book.clear(alert().key, 1200.0)
    carry(dispatcher, 1200.0)
    assert {request["path"] for request in receiver.received} == {"/api/v2/alerts"}
    raised, worsened, resolved = (json.loads(request["body"]) for request in receiver.received)
    labels = raised[0]["labels"]
    assert labels["alertname"] == "forgeline_drift" and labels["severity"] == "ticket"
    assert labels["subject"] == "intensity" and raised[0]["annotations"]["figure_shift_std"] == "0.4"
    # It stays until after the next reminder; the lower severity ends where the higher begins.
    assert raised[0]["endsAt"] == "1970-01-02T01:16:40.000Z"
    assert [each["labels"]["severity"] for each in worsened] == ["page", "ticket"]
    assert worsened[1]["labels"] == labels and worsened[1]["endsAt"] == "1970-01-01T00:18:20.000Z"
    assert resolved[0]["labels"] == worsened[0]["labels"] and resolved[0]["endsAt"] == "1970-01-01T00:20:00.000Z"
