"""What is said about a window."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from forgeline_deploy.drift.multiplicity import adjusted


@dataclass(frozen=True, kw_only=True)
class FeatureVerdict:
    """A feature in a window.

    Attributes:
        feature: its name.
        role: whether it goes into the model or comes out of it.
        kind: numeric or categorical.
        values: rows of the window that have a value.
        statistic: of the test for sudden change: Smirnov's of numbers, G of categories.
        p: of that test, bounded from above.
        evidence: of a lasting change, over all windows since the last restart.
        direction: the bet that holds most of the evidence, such as `location up`; None where there is none.
        sudden, lasting: whether it is among those that alarm.
        distance, by_chance: total variation from the reference, and what samples of these sizes have without drift.
        shift_std: of numbers, how far the mean moved, in reference deviations.
        nulls, outside: share of rows without a value; with a value that the reference never had.
    """

    feature: str
    role: Literal["input", "output"]
    kind: Literal["numeric", "categorical"]
    values: int
    statistic: float
    p: float
    evidence: float
    direction: str | None
    sudden: bool
    lasting: bool
    distance: float
    by_chance: float
    shift_std: float | None
    nulls: float
    outside: float

    @property
    def alarm(self) -> bool:
        """Whether it alarms in either way."""
        return self.sudden or self.lasting


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A window.

    Attributes:
        number: of the window, from 1; windows that were too small have none of their own.
        tested: False where it had too few rows; then nothing else was looked at.
        rows: that it has.
        evidence, threshold: of a lasting change in the family of features; alarm where it reaches the threshold.
        features: those that were looked at, in the order of the reference, inputs first.
    """

    number: int
    tested: bool
    rows: int
    evidence: float
    threshold: float
    features: tuple[FeatureVerdict, ...]

    @property
    def lasting(self) -> bool:
        """Whether the family's evidence of a lasting change has reached the threshold."""
        return self.tested and self.evidence >= self.threshold

    @property
    def alarm(self) -> bool:
        """Whether anything alarms. The promise is about this."""
        return self.lasting or bool(self.alarming)

    @property
    def alarming(self) -> tuple[FeatureVerdict, ...]:
        """The features that do."""
        return tuple(feature for feature in self.features if feature.alarm)

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"alarm": self.alarm}


def ranking(verdict: Verdict) -> list[tuple[FeatureVerdict, float]]:
    """Features of a window with the smallest false discovery rate at which each would be found, the first one lowest.

    By the sudden test of this window alone, after Benjamini and Hochberg; ties by the evidence of a lasting change. It
    is for reports: an alarm has its own promise.
    """
    levels = adjusted([feature.p for feature in verdict.features]).tolist()
    pairs = list(zip(verdict.features, levels, strict=True))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0].p, -pair[0].evidence, -pair[0].distance))
