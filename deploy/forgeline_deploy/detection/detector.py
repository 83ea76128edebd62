"""The detector: windows in, verdicts out, with a state that fits into JSON.

It is deterministic and knows no clock. What a window counts as depends on its counts alone, so that neither the order
of the merging replicas nor a restart between two windows changes a verdict. After an alarm of the lasting kind the
evidence of all features starts again from nothing, and with it the promise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from forgeline.distributions import CategoricalReference, NumericCounts
from forgeline.errors import UsageError
from forgeline_deploy.detection import cells, directions, evidence
from forgeline_deploy.detection.budget import Budget
from forgeline_deploy.detection.spec import FEWEST_WINDOWS, ToleranceSpec
from forgeline_deploy.detection.verdict import FeatureVerdict, Verdict
from forgeline_deploy.detection.watch import Role, Watch
from forgeline_deploy.drift import contingency

if TYPE_CHECKING:
    from forgeline.bundle.observation import Counts, Observation
    from forgeline.bundle.reference import Distribution, Reference

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST_ROWS = 30
"""Windows with fewer rows are not tested, unless it is set otherwise."""


class DetectorState(BaseModel):
    """What a detector remembers from window to window."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    settings: str = Field(description="Digest of the reference, the promise and the tolerances that it belongs to.")
    windows: int = Field(ge=0, description="Windows that were tested.")
    skipped: int = Field(ge=0, description="Windows that had too few rows.")
    evidence: dict[str, tuple[float, ...]] = Field(description="Of every bet, by feature.")


class Detector:
    """Tells windows that differ from the reference, with false alarms as rare as promised.

    Args:
        reference: statistics of the training data.
        windows: the promise: on average, so many windows without drift pass until the first alarm of any feature.
        tolerance: how far features may move without an alarm.
        fewest_rows: windows with fewer rows are skipped.
        outputs: whether the model's outputs are watched as well.
        references: how many of them share what may be spent on confidence bounds; each has as much of it.
        both_sides: place the same bets by every reference, whether there is room for them or not.

    Raises:
        UsageError: the promise is no number of windows, a tolerance names no feature, or nothing can be watched.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        windows: float,
        tolerance: ToleranceSpec | None = None,
        fewest_rows: int = FEWEST_ROWS,
        outputs: bool = True,
        references: int = 1,
        both_sides: bool = False,
    ) -> None:
        tolerance = tolerance or ToleranceSpec()
        if not FEWEST_WINDOWS <= windows < 1e12:
            raise UsageError(f"a promise of {windows:g} windows to a false alarm; allowed: {FEWEST_WINDOWS} to 1e12")
        watched = list(_distributions(reference, outputs=outputs))
        if not watched:
            raise UsageError("the reference statistics have no feature with values, so that nothing can be watched")
        names = {name for _, name, _ in watched}
        if unknown := sorted(tolerance.features.keys() - names):
            raise UsageError(
                f"monitor.tolerance.features names {unknown[0]!r}, which the reference statistics do not have; "
                f"allowed: {', '.join(sorted(names)[:20])}"
            )
        limits = sum(directions.bounds(distribution) for _, _, distribution in watched)
        self.budget = Budget.of(windows, features=len(watched), bounds=limits * references)
        self.fewest_rows = max(int(fewest_rows), 1)
        self.watches = tuple(
            Watch.of(name, role, distribution, tolerance.of(name), self.budget.log_odds, both_sides=both_sides)
            for role, name, distribution in watched
        )
        self._settings = _digest(reference, windows, tolerance, self.fewest_rows, outputs, references, both_sides)
        self._windows = self._skipped = 0
        self._evidence: dict[str, Floats] = {}
        self._restart()

    def step(self, window: Observation, *, watches: Sequence[Watch] | None = None) -> Verdict:
        """Judge the next window.

        Args:
            window: its counts.
            watches: of these features by another reference, with the same bets; None for this one.

        Raises:
            ValueError: its counts were not made with this reference.
        """
        vectors = [
            (watch, counts, cells.of_window(watch.distribution, counts))
            for watch in (self.watches if watches is None else watches)
            if (counts := _counts(window, watch)) is not None
        ]
        if window.rows < self.fewest_rows:
            self._skipped += 1
            family = self.family_evidence
            return self._verdict(window.rows, False, family, ())
        self._windows += 1
        for watch, _, window_K in vectors:
            before = self._evidence[watch.key]
            after = evidence.advanced(before, watch.log_gains(window_K))
            self._evidence[watch.key] = np.where(watch.placed.open_J, after, before)
        family = self.family_evidence
        lasting = self._named(family, [watch for watch, _, _ in vectors])
        found = tuple(self._feature(watch, counts, window_K, lasting) for watch, counts, window_K in vectors)
        if family >= self.budget.lasting:
            self._restart()
        return self._verdict(window.rows, True, family, found)

    @property
    def family_evidence(self) -> float:
        """Of a lasting change in any feature: the average over all."""
        return sum(self._of(watch) for watch in self.watches) / len(self.watches)

    def state(self) -> DetectorState:
        """What to store after a window, so that another detector goes on from there."""
        kept = {watch.key: tuple(self._evidence[watch.key].tolist()) for watch in self.watches}
        return DetectorState(settings=self._settings, windows=self._windows, skipped=self._skipped, evidence=kept)

    def restore(self, state: DetectorState) -> None:
        """Go on from a state.

        Raises:
            UsageError: it belongs to another reference, promise or tolerance.
        """
        lengths = {watch.key: len(watch.placed.weights_J) for watch in self.watches}
        if state.settings != self._settings or {key: len(kept) for key, kept in state.evidence.items()} != lengths:
            raise UsageError(
                "the stored state of the drift detector belongs to another reference, promise, tolerance or version; "
                "allowed: that of the same settings: start a fresh detector and replay the windows"
            )
        self._windows, self._skipped = state.windows, state.skipped
        self._evidence = {key: np.asarray(kept, dtype=np.float64) for key, kept in state.evidence.items()}

    def _restart(self) -> None:
        self._evidence = {watch.key: np.zeros(len(watch.placed.weights_J)) for watch in self.watches}

    def _of(self, watch: Watch) -> float:
        return float(watch.placed.weights_J @ self._evidence[watch.key])

    def _verdict(self, rows: int, tested: bool, family: float, features: tuple[FeatureVerdict, ...]) -> Verdict:
        return Verdict(
            number=self._windows,
            tested=tested,
            rows=rows,
            evidence=family,
            threshold=self.budget.lasting,
            features=features,
        )

    def _named(self, family: float, seen: list[Watch]) -> set[str]:
        """Keys of the features that a lasting alarm is about: those that reach the threshold by themselves.

        Of an average that reaches it one does at least, unless that one was not in this window: then the first of those
        that were.
        """
        if family < self.budget.lasting or not seen:
            return set()
        reached = {watch.key for watch in seen if self._of(watch) >= self.budget.lasting}
        return reached or {max(seen, key=self._of).key}

    def _feature(self, watch: Watch, counts: Counts, window_K: Integers, lasting: set[str]) -> FeatureVerdict:
        statistic, p = (float(found) for found in watch.sudden(window_K))
        own = self._of(watch)
        held_J = watch.placed.weights_J * self._evidence[watch.key]
        values, rows = counts.rows - counts.missing, max(counts.rows, 1)
        known = (watch.reference_K[1:], window_K[1:])
        comparable = bool(known[0].any() and known[1].any())
        numeric = isinstance(counts, NumericCounts)
        outside = counts.below + counts.above if isinstance(counts, NumericCounts) else _unknown(watch, counts.other)
        return FeatureVerdict(
            feature=watch.feature,
            role=watch.role,
            kind="numeric" if numeric else "categorical",
            values=values,
            statistic=statistic,
            p=p,
            evidence=own,
            direction=watch.placed.names_J[int(held_J.argmax())] if len(held_J) and held_J.max() > 0 else None,
            sudden=p <= self.budget.sudden,
            lasting=watch.key in lasting,
            distance=contingency.total_variation(*known) if comparable else 0.0,
            by_chance=contingency.total_variation_by_chance(*known) if comparable else 0.0,
            shift_std=counts.shift_std if isinstance(counts, NumericCounts) else None,
            nulls=counts.missing / rows,
            outside=outside / rows,
        )


def _distributions(reference: Reference, *, outputs: bool) -> Iterator[tuple[Role, str, Distribution]]:
    """What can be watched: features that have values."""
    sides: list[tuple[Role, dict[str, Distribution]]] = [("input", reference.inputs)]
    sides += [("output", reference.outputs)] if outputs else []
    for role, known in sides:
        for name, distribution in known.items():
            if cells.of_reference(distribution)[1:].any():
                yield role, name, distribution


def _counts(window: Observation, watch: Watch) -> Counts | None:
    return (window.inputs if watch.role == "input" else window.outputs).get(watch.feature)


def _unknown(watch: Watch, other: int) -> int:
    """Rows of categories that the reference never had; where it has unnamed ones they cannot be told."""
    return 0 if isinstance(watch.distribution, CategoricalReference) and watch.distribution.other else other


def _digest(
    reference: Reference,
    windows: float,
    tolerance: ToleranceSpec,
    fewest_rows: int,
    outputs: bool,
    references: int,
    both_sides: bool,
) -> str:
    settings: dict[str, Any] = {
        "reference": reference.model_dump(mode="json"),
        "windows": windows,
        "tolerance": tolerance.model_dump(mode="json"),
        "fewest_rows": fewest_rows,
        "outputs": outputs,
    }
    if references > 1 or both_sides:
        settings |= {"references": references, "both_sides": both_sides}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
