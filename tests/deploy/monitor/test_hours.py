"""Traffic with the rhythm of a week: held against the same hour of other weeks it is no drift, and a shift still is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.errors import LedgerError, UsageError
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor import Decision, Monitor, MonitorConfig, Stream, WindowStore, learnt
from forgeline_deploy.monitor.judging import Judge
from forgeline_deploy.monitor.pane import PaneKey, Tally
from forgeline_deploy.monitor.window import Part, Window

CHAMPION, PLANS = Stream("champion", "1"), ("basic", "pro", "team")
WINDOW_S, A_WEEK = 4 * 3600.0, 42
MONDAY = 4 * 86_400.0


def config(**more: Any) -> MonitorConfig:
    hourly = {"hour_of_week": {"weeks": 2, "rows": 500}}
    return MonitorConfig.model_validate({"window": "4h", "reference": hourly, **more})


def rows(rng: np.random.Generator, count: int, hour: int, shift: float = 0.0) -> tuple[Any, Any]:
    """By day and on workdays, values are larger and plans are dearer."""
    busy = np.sin(2 * np.pi * (hour % 24) / 24) + (hour < 120)
    plans = rng.choice(3, count, p=np.asarray([0.6 - 0.1 * busy, 0.3, 0.1 + 0.1 * busy]))
    return rng.normal(busy + shift, 1.0, count), plans


@pytest.fixture(scope="module")
def trained() -> Reference:
    """Of rows of all hours together."""
    rng = np.random.default_rng(0)
    drawn = [rows(rng, 30, hour) for hour in range(168)]
    plans = Counter(PLANS[number] for _, chosen in drawn for number in chosen)
    return Reference(
        samples=168 * 30,
        inputs={
            "usage": NumericReference.of(np.concatenate([values for values, _ in drawn])),
            "plan": CategoricalReference.of(plans.keys(), plans.values()),
        },
    )


def windows(reference: Reference, numbers: range, *, shift: float = 0.0, count: int = 300) -> Iterator[Window]:
    for number in numbers:
        rng = np.random.default_rng(number)
        values, plans = rows(rng, count, 4 * number % 168, shift)
        usage, plan = reference.inputs["usage"], reference.inputs["plan"]
        assert isinstance(usage, NumericReference) and isinstance(plan, CategoricalReference)
        counts = Counter(PLANS[chosen] for chosen in plans)
        seen = Observation(rows=count, inputs={"usage": usage.count(values), "plan": plan.count(counts)})
        start = MONDAY + number * WINDOW_S
        parts = {CHAMPION: Part(tally=Tally(observation=seen, requests=count))}
        yield Window(key=PaneKey(start), end=start + WINDOW_S, closed=start, parts=parts, included={})


def found(decision: Decision) -> set[str]:
    return {finding.subject for finding in decision.findings}


def test_a_weekly_rhythm_is_no_drift_and_a_shift_is(trained: Reference) -> None:
    by_model, by_hour = Judge(config(reference="model"), {"1": trained}), Judge(config(), {"1": trained})
    for number, window in enumerate(windows(trained, range(6 * A_WEEK))):
        always, hourly = by_model.step(window), by_hour.step(window)
        if number < 2 * A_WEEK:
            # Little is known yet: it is judged by the model's reference, and that is told.
            assert found(hourly) <= found(always)
            assert all("the model's reference, as little is known" in one.text for one in hourly.findings)
            assert hourly.measures[str(CHAMPION)]["hour_rows"] is None
        else:
            assert hourly.findings == ()
            assert (
                hourly.measures[str(CHAMPION)] | {"hour": 4 * number % 168, "hour_rows": 600}
                == (hourly.measures[str(CHAMPION)])
            )
    assert any(found(by_model.step(window)) for window in windows(trained, range(6 * A_WEEK, 6 * A_WEEK + 6)))
    shifted = [by_hour.step(window) for window in windows(trained, range(6 * A_WEEK, 6 * A_WEEK + 9), shift=0.4)]
    drifted = [finding for decision in shifted for finding in decision.findings if finding.subject == "usage"]
    assert drifted and "of other weeks, 600 rows" in drifted[0].text


def test_what_was_learnt_survives_a_restart(
    trained: Reference, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week is judged as by a monitor that never ended; what sums hours up may be there, old, or altered."""
    monkeypatch.setattr(learnt, "EVERY", 60)
    policy, told = config(window="12h", promise={"false_alarms": "1 per 300d"}), list[str]()
    store = WindowStore(tmp_path / "windows", journal)

    def monitor() -> Monitor:
        return Monitor(policy, references={"1": trained}, store=store, id="c", now=0.0, tell=told.append)

    first = monitor()
    some = [window for number, window in enumerate(windows(trained, range(3 * A_WEEK + 15))) if number % 3 == 0]
    for window in some[:-5]:
        store.append(window, first.judge.step(window), first.judge.state())
        first.tick(0.0)
    assert [entry["number"] for entry in journal.entries if entry["entry"] == learnt.ENTRY] == []
    monkeypatch.setattr(learnt, "EVERY", 20)
    first.tick(0.0)
    [entry] = [entry for entry in journal.entries if entry["entry"] == learnt.ENTRY]
    second = monitor()
    (tmp_path / "windows" / entry["file"]["name"]).write_bytes(b"altered")
    third = monitor()
    assert any("learnt again from the windows" in line for line in told)
    decided = [[one.judge.step(window) for window in some[-5:]] for one in (first, second, third)]
    assert decided[0] == decided[1] == decided[2]
    assert decided[0][0].measures[str(CHAMPION)]["hour_rows"] == 600


FEW: dict[str, Any] = {
    "window": "12h",
    "promise": {"false_alarms": "1 per 300d"},
    "minimum": 200,
    "reference": {"hour_of_week": {"weeks": 1, "rows": 100}},
}


def weeks(reference: Reference, *counts: int) -> list[list[Window]]:
    """Windows of 14 hours of the week, with so many rows each, by week."""
    return [
        list(windows(reference, range(week * A_WEEK, (week + 1) * A_WEEK), count=count))[::3]
        for week, count in enumerate(counts)
    ]


def test_few_rows_are_joined_with_those_of_the_same_hour(trained: Reference) -> None:
    judge = Judge(config(**FEW), {"1": trained})
    judged = [[judge.step(window).judged_rows for window in week] for week in weeks(trained, 300, 120, 120, 120)]
    assert judged == [[300] * 14, [0] * 14, [240] * 14, [0] * 14]


def test_a_window_that_cannot_be_read_costs_its_own_rows_alone(
    trained: Reference, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learnt, "EVERY", 27)
    store, told = WindowStore(tmp_path / "windows", journal), list[str]()

    def monitor() -> Monitor:
        return Monitor(config(**FEW), references={"1": trained}, store=store, id="c", now=0.0, tell=told.append)

    first, (known, few, more) = monitor(), weeks(trained, 300, 120, 120)
    for window in [*known, *few]:
        store.append(window, first.judge.step(window), first.judge.state())
        first.tick(0.0)
    # The sum is of 27 windows; the newest one is read, and says what is carried.
    store.folder.path.joinpath(store.windows[20].file.name).write_bytes(b"altered")
    second = monitor()
    assert [line for line in told if "window 20" in line and "are not judged" in line]
    assert not any("before it" in line for line in told)
    decided = [second.judge.step(window) for window in more]
    assert [one.judged_rows for one in decided] == [0 if number == 6 else 240 for number in range(14)]
    for stored in store.windows:
        store.folder.path.joinpath(stored.file.name).write_bytes(b"altered")
    third = monitor()
    assert [third.judge.step(window).measures[str(CHAMPION)]["hour_rows"] for window in more] == [300] * 14


@pytest.mark.parametrize("other", [{"weeks": 3}, {"rows": 600}, {"timezone": "Asia/Tokyo"}])
def test_hours_that_are_learnt_otherwise_are_judged_anew(
    trained: Reference, journal: Journal, tmp_path: Path, other: Mapping[str, Any]
) -> None:
    store, told = WindowStore(tmp_path / "windows", journal), list[str]()
    changed = config(reference={"hour_of_week": {"weeks": 2, "rows": 500, **other}})
    judge = Judge(config(), {"1": trained})
    for window in windows(trained, range(3)):
        store.append(window, judge.step(window), judge.state())
    with pytest.raises(UsageError, match="is of monitor.reference"):
        Judge(changed, {"1": trained}).restore(judge.state(), lambda _: None)
    resumed = Monitor(changed, references={"1": trained}, store=store, id="c", now=0.0, tell=told.append)
    assert told == ["the policy or a reference has changed: all stored windows are judged anew by it"]
    replayed = Judge(changed, {"1": trained})
    for window in windows(trained, range(3)):
        replayed.step(window)
    assert resumed.judge.state() == replayed.state()


class Full(WindowStore):
    """Windows are stored, and sums of hours are not."""

    refused = 0

    def write(self, *entries: Mapping[str, Any]) -> None:
        if entries[0]["entry"] == learnt.ENTRY:
            self.refused += 1
            raise LedgerError("no room")
        super().write(*entries)


def test_a_sum_that_cannot_be_written_waits_for_the_next_window(
    trained: Reference, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learnt, "EVERY", 1)
    store, told = Full(tmp_path / "windows", journal), list[str]()
    monitor = Monitor(config(), references={"1": trained}, store=store, id="c", now=0.0, tell=told.append)
    for number, window in enumerate(windows(trained, range(2)), 1):
        store.append(window, monitor.judge.step(window), monitor.judge.state())
        for _ in range(3):
            monitor.tick(0.0)
        assert store.refused == len(told) == number
    assert "cannot be summed up: no room; tried again with the next window" in told[0]


def test_hours_go_by_the_clock_of_the_time_zone(trained: Reference) -> None:
    """In Oslo clocks go forward on the last Sunday of March: 03:00 follows 01:59."""
    judge = Judge(config(reference={"hour_of_week": {"timezone": "Europe/Oslo"}}), {"1": trained})
    [window] = windows(trained, range(1))
    found = []
    for moment in (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)):
        start = moment.timestamp()
        at = Window(key=PaneKey(start), end=start + 60, closed=start, parts=window.parts, included={})
        found.append(judge.step(at).measures[str(CHAMPION)]["hour"])
    assert found == [6 * 24 + 1, 6 * 24 + 3]


def test_unknown_time_zones_are_refused() -> None:
    with pytest.raises(ValidationError, match="no time zone 'Mars'"):
        config(reference={"hour_of_week": {"timezone": "Mars"}})
    oslo = Judge(config(reference={"hour_of_week": {"timezone": "Europe/Oslo"}}), {}).config.hour_of_week
    assert oslo is not None and oslo.timezone == "Europe/Oslo"
