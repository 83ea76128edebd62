"""Traffic with the rhythm of a week: held against the same hour of other weeks it is no drift, and a shift still is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference
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


def windows(reference: Reference, numbers: range, *, shift: float = 0.0) -> Iterator[Window]:
    for number in numbers:
        rng = np.random.default_rng(number)
        values, plans = rows(rng, 300, 4 * number % 168, shift)
        usage, plan = reference.inputs["usage"], reference.inputs["plan"]
        assert isinstance(usage, NumericReference) and isinstance(plan, CategoricalReference)
        counts = Counter(PLANS[chosen] for chosen in plans)
        seen = Observation(rows=300, inputs={"usage": usage.count(values), "plan": plan.count(counts)})
        start = MONDAY + number * WINDOW_S
        parts = {CHAMPION: Part(tally=Tally(observation=seen, requests=300))}
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


def test_unknown_time_zones_are_refused() -> None:
    with pytest.raises(ValidationError, match="no time zone 'Mars'"):
        config(reference={"hour_of_week": {"timezone": "Mars"}})
    oslo = Judge(config(reference={"hour_of_week": {"timezone": "Europe/Oslo"}}), {}).config.hour_of_week
    assert oslo is not None and oslo.timezone == "Europe/Oslo"
