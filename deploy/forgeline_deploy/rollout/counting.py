"""The counts of one source, while it counts: what a router does per answer, and the reader of labels per label."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from forgeline_deploy.rollout.evidence import StepCounts
from forgeline_deploy.rollout.losses import LossScale
from forgeline_deploy.rollout.spec import GuardConfig

Side = Literal["champion", "challenger"]


class Counting:
    """Counts of one source in one step; `counts()` is what `Evidence` takes.

    Args:
        guard: has the limits on latency.
        scale: of the losses that are compared; None where no labels are compared.
    """

    def __init__(self, guard: GuardConfig, scale: LossScale | None = None) -> None:
        self._latencies = guard.latencies()
        self._scale = scale
        self._single: Counter[str] = Counter()
        self._many: dict[str, Counter[Any]] = {"slow": Counter()}

    def answered(self, side: Side, *, seconds: float, failed: bool = False) -> None:
        """Count a request that a version answered, or failed at, be it for want of room.

        Args:
            side: of the challenger, answers in shadow count as well.
            seconds: that the answer took; a failure is as slow as it was.
        """
        if side == "champion":
            self._single["champion_requests"] += 1
            return
        self._single["requests"] += 1
        self._single["errors"] += failed
        for name, (limit, _) in self._latencies.items():
            self._many["slow"][name] += seconds > limit

    def shadowed(self, *, agree: bool) -> None:
        """Count a request that both answered."""
        self._single["shadowed"] += 1
        self._single["disagreements"] += not agree

    def pair(self, *, champion: Any, challenger: Any, label: Any) -> None:
        """Count the label of a request that both answered; answers as `LossScale.loss` takes them.

        Raises:
            ValueError: an answer or the label is none of the metric; nothing was counted.
        """
        scale = self._needed()
        ours, theirs = scale.loss(challenger, label), scale.loss(champion, label)
        self._count("pairs", scale.level_of_difference(ours, theirs))
        self._count("champion_losses", scale.level(theirs))

    def labelled(self, side: Side, *, answer: Any, label: Any) -> None:
        """Count the label of a request that one version answered.

        Raises:
            ValueError: as for `pair`.
        """
        scale = self._needed()
        self._count(f"{side}_losses", scale.level(scale.loss(answer, label)))

    def counts(self) -> StepCounts:
        """What was counted until now."""
        found: dict[str, Any] = dict(self._single)
        found |= {name: dict(sorted(counter.items())) for name, counter in self._many.items()}
        return StepCounts(**found)

    def _count(self, name: str, level: int) -> None:
        self._many.setdefault(name, Counter())[level] += 1

    def _needed(self) -> LossScale:
        if self._scale is None:
            raise ValueError("rollout.compare: needed to count labels")
        return self._scale
