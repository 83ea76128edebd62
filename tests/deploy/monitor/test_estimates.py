"""Windows say how often the model is probably right, and raise a ticket where that is less than allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forgeline.bundle.calibration import Calibration
from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import NumericReference
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor import Batch, PaneRecorder
from forgeline_deploy.monitor.page import page_state, render
from forgeline_deploy.monitor.standing import monitored
from tests.deploy.monitor.test_monitor import CONFIG, Watching
from tests.deploy.monitor.traffic import WINDOW_S, count_by

SURE, UNSURE = 0.97, 0.6


def calibrated(reference: Reference) -> Reference:
    """With a model that is as often right as it is sure; of one in ten of 1,000 held-out rows it is unsure."""
    certain = np.repeat([SURE, UNSURE], [900, 100])
    probability = NumericReference.of(certain)
    outputs = np.stack([certain, 1 - certain], axis=1)
    truth = np.repeat([0, 1, 0, 1], [873, 27, 60, 40])
    return reference.model_copy(
        update={
            "outputs": reference.outputs | {"probability": probability},
            "calibration": Calibration.of(probability, outputs, truth),
        }
    )


@pytest.fixture
def watching(journal: Journal, tmp_path: Path, reference: Reference) -> Watching:
    """A model that is unsure of what is used a lot."""
    config = CONFIG.model_validate(CONFIG.model_dump() | {"bounds": {"accuracy": "85%"}})
    known = calibrated(reference)
    made = Watching(journal, tmp_path / "windows", known, config=config)
    probability, plain = known.outputs["probability"], count_by(known)
    assert isinstance(probability, NumericReference)

    def count(one: Batch) -> Observation:
        certain = np.where(one.encoded["usage"] > 1.2816, UNSURE, SURE)
        seen = plain(one)
        return replace(seen, outputs={**seen.outputs, "probability": probability.count(certain)})

    made.replica = PaneRecorder(replica="a", count=count, window_s=WINDOW_S, now=lambda: 0.0, keep_answers=True)
    return made


def test_every_window_has_an_estimate_with_its_interval(watching: Watching) -> None:
    [window] = watching.window(0, rows=1_000)
    measured = window.decision.measures["champion 1"]
    low, estimated, high = (measured[f"estimated_{name}"] for name in ("low", "accuracy", "high"))
    assert low is not None and estimated is not None and high is not None
    assert low < estimated < high and estimated == pytest.approx(0.933, abs=0.01) and high - low < 0.06
    assert window.decision.findings == ()


def test_estimates_below_the_bound_for_three_windows_are_a_ticket(watching: Watching) -> None:
    watching.window(0, rows=1_000)
    found = []
    for number in range(1, 5):
        if number == 2:
            watching.begin(25.0)
        [window] = watching.window(number, rows=1_000, shift=3.0)
        found.append([finding for finding in window.decision.findings if finding.about == "estimate"])
    assert [len(findings) for findings in found] == [0, 0, 1, 1]
    finding = found[2][0]
    assert finding.severity == "ticket" and finding.bound == 0.85 and finding.value is not None and finding.value < 0.7
    assert "estimated without labels" in finding.text and finding.text.endswith("allowed: 85% or more")
    assert "of the rows that the model was checked on are like these" in finding.text


def test_the_page_tells_what_is_estimated(watching: Watching) -> None:
    watching.window(0, rows=1_000)
    state = monitored(watching.monitor.store.windows, [], policy=CONFIG.model_dump(mode="json"), timeline=10)
    [line] = state["newest"]["estimates"].values()
    assert line.startswith("accuracy about 93")
    assert line in render(page_state(state, deployment="digits", model="digits version 1", now=50.0))


def test_a_model_without_calibration_has_no_estimate(journal: Journal, tmp_path: Path, reference: Reference) -> None:
    [window] = Watching(journal, tmp_path / "windows", reference).window(0)
    assert not [name for name in window.decision.measures["champion 1"] if name.startswith("estimated")]
