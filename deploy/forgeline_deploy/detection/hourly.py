"""Windows against the reference of their own hour of the week, where days and weeks have a rhythm.

Every hour has a reference of its own: counts of earlier rows of that hour, in the bins of the model's reference. It is
a sample of rows that are never judged by it, and fixed from then on. Its bins are another sample's, so that it has
other confidence bounds than the model's reference (`confidence`); those of all hours share one half of what a monitor
spends on bounds. Which bets are placed in a window depends on its hour alone, so
that the evidence of all hours is one: M_t = (M_{t-1} + 1) L_t asks of L_t only that E[L_t | past] <= 1, by whichever
reference. A bet that has no room in an hour stays as it is: M_t = M_{t-1} <= M_{t-1} + 1. Windows that are judged by
the model's reference have a detector of their own with the same thresholds c: as each window adds at most one to the
mean of either, P(one of both alarms by T) <= E[T] / c holds as for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forgeline.bundle.observation import Counts, Observation
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts, NumericReference
from forgeline.distributions.numeric import FARTHEST_STD, STEPS_PER_STD
from forgeline_deploy.detection.detector import Detector, DetectorState
from forgeline_deploy.detection.watch import Watch

if TYPE_CHECKING:
    from forgeline.bundle.reference import Distribution, Reference
    from forgeline_deploy.detection.spec import ToleranceSpec
    from forgeline_deploy.detection.verdict import Verdict

HOURS = 168
"""Of a week, Monday's first is 0."""


class HourlyDetector:
    """Tells windows that differ from what their hour was like before. Arguments as of `Detector`."""

    def __init__(
        self, reference: Reference, *, windows: float, tolerance: ToleranceSpec, fewest_rows: int, outputs: bool = True
    ) -> None:
        self._tolerance = tolerance
        self._detector = Detector(
            reference,
            windows=windows,
            tolerance=tolerance,
            fewest_rows=fewest_rows,
            outputs=outputs,
            references=2 * HOURS,
            both_sides=True,
        )
        # Of one hour at a time: the bets of 168 hours of 100 columns would take 400 MB.
        self._hour: tuple[Observation, tuple[Watch, ...]] | None = None

    def step(self, before: Observation, window: Observation) -> Verdict:
        """Judge the next window.

        Args:
            before: rows of its hour in earlier weeks, always the same ones.
            window: other rows, counted in the same bins.

        Raises:
            ValueError: counts were not made with the model's reference.
        """
        if self._hour is None or self._hour[0] is not before:
            self._hour = before, tuple(self._watches(before))
        watches = self._hour[1]
        sides = {"input": dict(window.inputs), "output": dict(window.outputs)}
        held = {watch.key: watch.distribution for watch in self._detector.watches}
        for watch in watches:
            counts = sides[watch.role].get(watch.feature)
            if counts is not None:
                sides[watch.role][watch.feature] = _widened(held[watch.key], watch.distribution, counts)
        widened = Observation(rows=window.rows, inputs=sides["input"], outputs=sides["output"])
        return self._detector.step(widened, watches=watches)

    def state(self) -> DetectorState:
        """As of `Detector`; what the hours were like is not in it."""
        return self._detector.state()

    def restore(self, state: DetectorState) -> None:
        """Go on from a state.

        Raises:
            UsageError: it belongs to another reference, promise or tolerance.
        """
        self._detector.restore(state)

    def _watches(self, before: Observation) -> list[Watch]:
        made = []
        for watch in self._detector.watches:
            side = before.inputs if watch.role == "input" else before.outputs
            counts = side.get(watch.feature)
            if counts is not None and counts.rows > counts.missing:
                made.append(
                    Watch.of(
                        watch.feature,
                        watch.role,
                        distribution_of(watch.distribution, counts),
                        self._tolerance.of(watch.feature),
                        self._detector.budget.log_odds,
                        both_sides=True,
                        bins_of=watch.distribution,
                    )
                )
        return made


def distribution_of(held: Distribution, counts: Counts) -> Distribution:
    """Counts in the bins of a reference, as a reference: what lay outside is in a bin of its own at either end.

    A deviation stays that of the model's reference, and so does whether tolerances go by it: they mean the same in
    every hour.

    Raises:
        ValueError: the counts are not of this feature.
    """
    if isinstance(held, NumericReference) and isinstance(counts, NumericCounts):
        low = float(np.nextafter(held.minimum, -np.inf))
        reach = FARTHEST_STD * (held.deviation or 1.0)
        assert counts.minimum is not None and counts.maximum is not None and counts.shift_std is not None
        return NumericReference(
            edges=(low, *held.edges, held.maximum),
            counts=(counts.below, *map(int, counts.bins), counts.above),
            missing=counts.missing,
            mean=held.mean + counts.shift_std * (held.deviation or 1.0),
            std=held.std,
            minimum=min(low, max(counts.minimum, held.mean - reach)),
            maximum=max(float(np.nextafter(held.maximum, np.inf)), min(counts.maximum, held.mean + reach)),
        )
    if isinstance(held, CategoricalReference) and isinstance(counts, CategoricalCounts):
        known = dict(zip(held.counts, map(int, counts.known), strict=True))
        return CategoricalReference(counts=known, other=counts.other, missing=counts.missing)
    raise ValueError(f"these counts were not made with this {held.kind} reference")


def _widened(held: Distribution, hour: Distribution, counts: Counts) -> Counts:
    """A window's counts in the bins of its hour's reference, its mean told from that of the hour."""
    if not isinstance(counts, NumericCounts):
        return counts
    assert isinstance(held, NumericReference) and isinstance(hour, NumericReference)
    offset = round((hour.mean - held.mean) / (held.deviation or 1.0) * STEPS_PER_STD * counts.known)
    return NumericCounts(
        bins=np.concatenate([[counts.below], counts.bins, [counts.above]]).astype(np.int64),
        below=0,
        above=0,
        missing=counts.missing,
        steps=counts.steps - offset,
        minimum=counts.minimum,
        maximum=counts.maximum,
    )
