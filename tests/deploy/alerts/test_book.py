"""An alert that lasts is one alert."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.ledger.journal import Journal, Overtaken
from forgeline_deploy.alerts.alert import Alert, Event, Notice, Severity
from forgeline_deploy.alerts.book import AlertBook
from forgeline_deploy.alerts.spec import LogConfig, WebhookConfig

MakeAlert = Callable[..., Alert]
LOG = LogConfig(log=True)
PAGER = WebhookConfig.model_validate({"webhook": "https://pager.example/x", "severity": "page", "remind": "1h"})


class Memory:
    """A journal in memory, as several processes share it."""

    def __init__(self, shared: list[Any] | None = None) -> None:
        self.shared = [] if shared is None else shared
        self.read = len(self.shared)

    def since(self, number: int) -> list[Any]:
        return self.shared[number : self.read]

    def append(self, *entries: Any) -> None:
        if len(self.shared) != self.read:
            raise Overtaken("overtaken")
        self.shared += entries
        self.read = len(self.shared)

    def refresh(self) -> list[Any]:
        before, self.read = self.read, len(self.shared)
        return self.shared[before:]


def test_an_alert_is_raised_once_reminded_of_and_resolved(journal: Callable[[], Journal], alert: MakeAlert) -> None:
    book = AlertBook(journal(), [LOG, PAGER])
    assert book.see(alert(), 1000.0) is Event.RAISED
    assert book.see(alert(summary="moved further"), 1300.0) is None
    page = alert(severity=Severity.PAGE)
    assert book.see(page, 1600.0) is Event.WORSENED
    # Read again by a process that has just started.
    book = AlertBook(journal(), [LOG, PAGER])
    assert book.see(alert(), 1900.0) is None
    assert book.see(page, 1600.0 + 3600.0) is Event.REMINDER
    assert book.clear(alert().key, 6000.0) is Event.RESOLVED
    assert book.clear(alert().key, 6001.0) is None and book.open == ()
    notices = [Notice.from_entry(entry) for entry in journal().entries]
    assert [(notice.number, notice.event, notice.to) for notice in notices] == [
        (0, Event.RAISED, ("log",)),
        (1, Event.WORSENED, ("log", PAGER.name)),
        (2, Event.REMINDER, (PAGER.name,)),
        (3, Event.RESOLVED, ("log", PAGER.name)),
    ]
    assert notices[1].before is Severity.TICKET and notices[3].alert.first == 1000.0
    assert book.see(alert(), 7000.0) is Event.RAISED


def test_alerts_differ_by_kind_and_subject_and_not_by_figures(alert: MakeAlert) -> None:
    one = alert()
    assert replace(one, figures={"p": 0.1}, model="digits/4", severity=Severity.PAGE, window=None).key == one.key
    assert len({one.key, alert(kind="harm").key, alert(subject="contrast").key, alert(run_id="run2").key}) == 4


def test_what_is_in_the_journal_is_what_was_told(alert: MakeAlert) -> None:
    notice = Notice(number=3, event=Event.RAISED, at=1.5, alert=alert(), to=("log",))
    read = Notice.from_entry(notice.to_entry())
    assert read.alert.figures == {"shift_std": 0.4, "rows": 500, "p": None}
    assert replace(read, alert=replace(read.alert, figures={})) == replace(notice, alert=alert(figures={}))


steps = st.lists(
    st.tuples(
        st.integers(0, 1),  # which of two controllers
        st.sampled_from(["see", "page", "clear"]),
        st.sampled_from(["intensity", "contrast"]),
        st.integers(0, 3000),  # seconds later
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_two_controllers_that_race_tell_what_one_would(taken: list[tuple[int, str, str, int]]) -> None:
    known: dict[str, Any] = {"kind": "drift", "deployment": "d", "run_id": "r", "model": "d/1", "summary": ""}

    def told(controllers: list[AlertBook], shared: list[Any]) -> list[Any]:
        now = 0.0
        for which, what, subject, later in taken:
            now += later
            severity = Severity.PAGE if what == "page" else Severity.TICKET
            alert = Alert(**known, severity=severity, subject=subject, first=now, last=now)
            book = controllers[which % len(controllers)]
            _ = book.clear(alert.key, now) if what == "clear" else book.see(alert, now)
        return shared

    shared: list[Any] = []
    both = told([AlertBook(Memory(shared), [LOG, PAGER]) for _ in range(2)], shared)
    alone: list[Any] = []
    # A controller that was behind may have found nothing to say where there was: what it says is true all the same.
    one = told([AlertBook(Memory(alone), [LOG, PAGER])], alone)
    assert [entry["number"] for entry in both] == list(range(len(both)))
    first = next((entry for entry in one), None)
    assert (both[0] if both else None) == first
    for key in {entry["alert"]["subject"] for entry in both}:
        events = [entry["event"] for entry in both if entry["alert"]["subject"] == key]
        for before, after in zip(events, events[1:], strict=False):
            assert (after == "raised") == (before == "resolved")
