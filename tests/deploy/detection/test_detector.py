"""The detector as the monitor uses it."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.errors import UsageError
from forgeline_deploy.detection import Detector, DetectorState, ToleranceSpec, ranking

Window = Callable[..., Observation]
EXACT = ToleranceSpec.model_validate({"default": 0})


def test_it_is_quiet_without_drift(reference: Reference, window: Window) -> None:
    rng = np.random.default_rng(0)
    detector = Detector(reference, windows=1_000, tolerance=EXACT)
    verdicts = [detector.step(window(rng)) for _ in range(300)]
    assert not any(verdict.alarm for verdict in verdicts)
    assert [verdict.number for verdict in verdicts] == list(range(1, 301))
    assert [feature.feature for feature in verdicts[0].features] == ["age", "income", "plan", "probability"]


@pytest.mark.parametrize(
    ("moved", "feature"),
    [
        ({"shift": 1.0}, "age"),
        ({"stretch": 2.5}, "age"),
        ({"nulls": 0.4}, "income"),
        ({"plans": (0.3, 0.3, 0.4)}, "plan"),
        ({"new": 20}, "plan"),
    ],
)
def test_a_sudden_change_is_found_at_once(
    reference: Reference, window: Window, moved: dict[str, float], feature: str
) -> None:
    rng = np.random.default_rng(1)
    detector = Detector(reference, windows=1_000)
    detector.step(window(rng))
    verdict = detector.step(window(rng, **moved))
    assert verdict.alarm
    assert [one.feature for one in verdict.alarming] == [feature]
    assert ranking(verdict)[0][0].feature == feature or not verdict.alarming[0].sudden


def test_a_small_change_that_lasts_is_found_in_time(reference: Reference, window: Window) -> None:
    rng = np.random.default_rng(2)
    detector = Detector(reference, windows=1_000, tolerance=EXACT)
    verdict = detector.step(window(rng, shift=0.25))
    while not verdict.alarm and verdict.number < 60:
        verdict = detector.step(window(rng, shift=0.25))
    [found] = verdict.alarming
    assert (found.feature, found.lasting, found.direction) == ("age", True, "location up")
    assert 1 < verdict.number < 30
    assert verdict.evidence >= verdict.threshold
    assert detector.family_evidence == 0, "after the alarm it starts again"


def test_a_change_within_the_tolerance_is_none(reference: Reference, window: Window) -> None:
    rng = np.random.default_rng(3)
    allowed = ToleranceSpec.model_validate({"default": "0.05 sigma", "features": {"age": "0.3 sigma"}})
    strict, lenient = (Detector(reference, windows=1_000, tolerance=spec) for spec in (EXACT, allowed))
    seen = [window(rng, 1_000, shift=0.25) for _ in range(40)]
    assert any(strict.step(one).alarm for one in seen)
    assert not any(lenient.step(one).alarm for one in seen)


def test_a_larger_shift_is_no_less_surprising(reference: Reference, window: Window) -> None:
    found = []
    for shift in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6):
        detector = Detector(reference, windows=1_000, tolerance=EXACT)
        found.append(detector.step(window(np.random.default_rng(4), 500, shift=shift)).features[0])
    assert [one.p for one in found[1:]] == sorted((one.p for one in found[1:]), reverse=True)
    assert [one.evidence for one in found] == sorted(one.evidence for one in found)


def test_resumed_anywhere_it_says_the_same(reference: Reference, window: Window) -> None:
    rng = np.random.default_rng(5)
    seen = [window(rng, 20 if number % 7 == 3 else 150, shift=0.02 * number) for number in range(40)]
    whole = Detector(reference, windows=200, tolerance=EXACT)
    wanted = [whole.step(one) for one in seen]
    kept = Detector(reference, windows=200, tolerance=EXACT).state().model_dump_json()
    got = []
    for one in seen:
        resumed = Detector(reference, windows=200, tolerance=EXACT)
        resumed.restore(DetectorState.model_validate_json(kept))
        got.append(resumed.step(one))
        kept = resumed.state().model_dump_json()
    assert got == wanted
    assert any(verdict.alarm for verdict in wanted)
    assert resumed.state() == whole.state()
    assert json.loads(kept)["skipped"] == sum(not verdict.tested for verdict in wanted) == 6


def test_parts_of_a_window_may_come_in_any_order(reference: Reference, window: Window) -> None:
    rng = np.random.default_rng(6)
    parts = [window(rng, 40, shift=0.4) for _ in range(9)]
    found = []
    for order in (range(9), reversed(range(9)), rng.permutation(9)):
        first, *rest = (parts[number] for number in order)
        whole = first
        for part in rest:
            whole = whole + part
        found.append(Detector(reference, windows=1_000).step(whole))
    assert found[0] == found[1] == found[2]


def test_a_state_of_other_settings_is_refused(reference: Reference) -> None:
    state = Detector(reference, windows=1_000).state()
    for other in (Detector(reference, windows=999), Detector(reference, windows=1_000, tolerance=EXACT)):
        with pytest.raises(UsageError, match="belongs to another reference, promise, tolerance or version"):
            other.restore(state)


def test_small_windows_are_counted_and_left_alone(reference: Reference, window: Window) -> None:
    detector = Detector(reference, windows=1_000, fewest_rows=50)
    verdict = detector.step(window(np.random.default_rng(7), 49, shift=9.0))
    assert (verdict.tested, verdict.alarm, verdict.number, verdict.features) == (False, False, 0, ())
    assert (detector.state().windows, detector.state().skipped) == (0, 1)


def test_without_outputs_the_inputs_are_watched(reference: Reference, window: Window) -> None:
    seen = window(np.random.default_rng(8))
    verdict = Detector(reference, windows=1_000).step(Observation(rows=seen.rows, inputs=seen.inputs))
    assert {feature.role for feature in verdict.features} == {"input"}
    assert len(Detector(reference, windows=1_000, outputs=False).watches) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windows": 5}, "a promise of 5 windows"),
        ({"windows": float("nan")}, "a promise of nan windows"),
        ({"windows": 1_000, "tolerance": ToleranceSpec.model_validate({"features": {"agee": 0}})}, "'agee'"),
    ],
)
def test_what_cannot_be_promised_is_refused(reference: Reference, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Detector(reference, **settings)  # type: ignore[arg-type]


def test_counts_of_another_reference_are_refused(reference: Reference, window: Window) -> None:
    detector = Detector(reference, windows=1_000)
    seen = window(np.random.default_rng(9))
    with pytest.raises(ValueError, match="not made with this numeric reference"):
        detector.step(Observation(rows=200, inputs={"age": seen.inputs["plan"]}))


def test_a_reference_without_values_cannot_be_watched() -> None:
    nothing = Reference(samples=3, inputs={"x": NumericReference.of(np.full(3, np.nan))})
    with pytest.raises(UsageError, match="nothing can be watched"):
        Detector(nothing, windows=1_000)


def test_a_column_of_names_is_found_when_none_of_them_is_known() -> None:
    """Of 3,000 names a reference of 4,000 rows knows the 120 most frequent; then all rows have others."""
    rng = np.random.default_rng(10)
    shares = 1 / np.arange(1.0, 3_001)
    shares /= shares.sum()
    counts = rng.multinomial(4_000, shares)
    names = [str(number) for number in range(3_000)]
    known = CategoricalReference.of(names, counts)
    detector = Detector(Reference(samples=4_000, inputs={"name": known}), windows=1_000, tolerance=EXACT)

    def drawn(seen: np.ndarray) -> Observation:
        return Observation(rows=300, inputs={"name": known.count(dict(zip(names, map(int, seen), strict=True)))})

    quiet = [detector.step(drawn(rng.multinomial(300, shares))).alarm for _ in range(200)]
    assert not any(quiet)
    moved = Observation(rows=300, inputs={"name": known.count({"a new one": 300})})
    assert detector.step(moved).alarming[0].direction == "other categories up"


def test_evidence_of_an_output_that_is_not_asked_for_waits(reference: Reference, window: Window) -> None:
    """An alarm is always about a feature that is in the window."""
    rng = np.random.default_rng(11)
    detector = Detector(reference, windows=20, tolerance=EXACT)
    verdicts = []
    for _ in range(60):
        seen = window(rng, shift=0.15)
        verdicts.append(detector.step(Observation(rows=seen.rows, inputs=seen.inputs)))
    assert any(verdict.lasting for verdict in verdicts)
    assert all(bool(verdict.alarming) == verdict.alarm for verdict in verdicts)
    assert json.loads(json.dumps(verdicts[-1].row()))["number"] == 60


def test_a_ranking_has_the_false_discovery_rate_of_each(reference: Reference, window: Window) -> None:
    verdict = Detector(reference, windows=1_000).step(window(np.random.default_rng(12), shift=0.6))
    ranked = ranking(verdict)
    assert [feature.feature for feature, _ in ranked][0] == "age"
    levels = [level for _, level in ranked]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(4 * ranked[0][0].p)
    assert ranking(Detector(reference, windows=1_000).step(window(np.random.default_rng(12), 9))) == []
