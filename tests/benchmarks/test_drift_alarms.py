"""What measures the promise follows the detector, and finds false alarms where there are some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import acceptance, drift_alarms
from benchmarks.drift_alarms import Stream, first_alarm
from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts
from forgeline_deploy.detection import Detector, ToleranceSpec
from forgeline_deploy.detection.budget import Budget


@pytest.mark.parametrize("kind", drift_alarms.KINDS)
def test_it_alarms_when_the_detector_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same windows, one by one, through the door that the monitor uses."""
    monkeypatch.setattr(drift_alarms, "PROMISE", 20)
    stream = Stream(kind=kind, features=3, rows=100, reference_rows=400, shift=0.5)
    seen: list[list[Any]] = []
    known: list[Any] = []
    feature = drift_alarms._feature

    class Recorded:
        """A generator that keeps the windows it has drawn."""

        def __init__(self, seed: list[int]) -> None:
            self.own = np.random.Generator(np.random.PCG64(seed))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.own, name)

        def multinomial(self, *arguments: Any, **settings: Any) -> Any:
            found = self.own.multinomial(*arguments, **settings)
            if "size" in settings:
                seen.append(found)
            return found

    def kept(*arguments: Any, **settings: Any) -> Any:
        known.append(feature(*arguments, **settings))
        return known[-1]

    monkeypatch.setattr(drift_alarms.np.random, "default_rng", Recorded)
    monkeypatch.setattr(drift_alarms, "_feature", kept)
    found = first_alarm(stream, 0, horizon=250)
    reference = Reference(samples=400, inputs={f"x{number}": one for number, (one, _) in enumerate(known)})
    detector = Detector(reference, windows=20, tolerance=ToleranceSpec.model_validate({"default": 0}), outputs=False)
    alarms = [detector.step(_window(reference, [cells[number] for cells in seen])).alarm for number in range(250)]
    assert found == (alarms.index(True) + 1 if any(alarms) else 251)


def _window(reference: Reference, cells: list[Any]) -> Observation:
    inputs: dict[str, Any] = {}
    for (name, known), counts in zip(reference.inputs.items(), cells, strict=True):
        if isinstance(known, CategoricalReference):
            inputs[name] = CategoricalCounts(known=counts[1:-1], other=int(counts[-1]), missing=int(counts[0]))
        else:
            inputs[name] = NumericCounts(
                bins=counts[2:-1], below=int(counts[1]), above=int(counts[-1]), missing=int(counts[0]),
                steps=0, minimum=None, maximum=None,
            )  # fmt: skip
    return Observation(rows=int(cells[0].sum()), inputs=inputs)


@pytest.mark.parametrize("kind", drift_alarms.KINDS)
def test_a_promise_is_kept_in_small(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 windows are promised; 30 runs of 3 features end, on average and cut at 40, no earlier than that allows."""
    monkeypatch.setattr(drift_alarms, "PROMISE", 20)
    stream = Stream(kind=kind, features=3, rows=50, reference_rows=300)
    lengths = [first_alarm(stream, run, horizon=40) for run in range(30)]
    assert np.mean(np.minimum(lengths, 40)) > 20


def test_it_finds_a_promise_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thresholds for 20 windows in place of 1,000, the bar is missed."""
    budget = Budget.of(20, features=1, bounds=8)
    monkeypatch.setattr(Budget, "of", lambda *_, **__: Budget(sudden=0.05, lasting=20, log_odds=budget.log_odds))
    monkeypatch.setattr(drift_alarms, "RUNS", 10)
    monkeypatch.setattr(drift_alarms.os, "sched_getaffinity", lambda _: {0})
    row = drift_alarms.run_lengths(Stream(kind="normal", features=1, rows=50, reference_rows=300), lambda _: None)
    assert not row["met"]
    assert row["alarms"] > 5


def test_there_is_a_row_for_every_cell() -> None:
    groups = drift_alarms.groups(lambda _: None)
    assert sum(len(rows) for group, rows in groups.items() if group != "drift-delay") == 72
    assert len(groups["drift-delay"]) == 36
    assert acceptance.FAMILIES["drift"] == [*groups, "drift-hours"]
