from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from forgeline.errors import LedgerError
from forgeline.launching import ledger_watch
from forgeline.launching.ledger_watch import LedgerWatch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_watch, "_POLL_S", 0.01)


def test_a_lease_is_renewed_through_an_outage_which_the_log_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger_watch, "RENEW_EVERY_S", 0.0)
    answers: Iterator[object] = iter([True, LedgerError("locked"), LedgerError("gone"), True])
    all_asked, lost = threading.Event(), threading.Event()

    def renew() -> bool:
        answer = next(answers, None)
        if answer is None:
            all_asked.set()
        if isinstance(answer, Exception):
            raise answer
        return True

    watch = LedgerWatch(renew=renew, cancel_requested=lambda: False, on_lost=lost.set)
    assert all_asked.wait(10)
    watch.close()
    assert not lost.is_set() and not watch.lost
    said = capfd.readouterr().err
    assert said.count("LedgerError: locked") == 1 and "LedgerError: gone" not in said


def test_a_lost_lease_is_told_once() -> None:
    told: list[int] = []
    lost = threading.Event()

    def on_lost() -> None:
        told.append(1)
        lost.set()

    watch = LedgerWatch(renew=lambda: False, cancel_requested=lambda: False, on_lost=on_lost)
    assert lost.wait(10)
    watch._thread.join(10)
    assert (told, watch.lost) == ([1], True)


def test_the_wish_to_cancel_is_heard_and_kept() -> None:
    wishes = iter([LedgerError("away"), False, True])
    heard = threading.Event()

    def ask() -> bool:
        wish = next(wishes)
        if isinstance(wish, Exception):
            raise wish
        if wish:
            heard.set()
        return wish

    watch = LedgerWatch(renew=lambda: True, cancel_requested=ask, on_lost=lambda: None)
    assert heard.wait(10)
    while not watch.cancel_requested:
        pass
    watch.close()
