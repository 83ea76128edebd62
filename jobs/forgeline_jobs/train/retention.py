"""Which checkpoints of a run are kept: the newest, the best, and one of every so many steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

Score = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What to keep.

    Attributes:
        last: newest checkpoints.
        best: checkpoints that were validated best.
        every: the first checkpoint of each so many steps stays for good; None for none.
    """

    last: int = 2
    best: int = 1
    every: int | None = None

    def kept(self, steps: Collection[int], best: Collection[int]) -> set[int]:
        """Which of the checkpoints stay.

        Args:
            steps: of the checkpoints that there are.
            best: steps of those that were validated best.

        >>> sorted(Retention(last=1, every=100).kept([90, 120, 180, 210, 220], best=[180]))
        [120, 180, 210, 220]
        """
        ordered = sorted(steps)
        return {*ordered[-self.last :], *(step for step in ordered if step in best), *self._milestones(ordered)}

    def _milestones(self, ordered: Sequence[int]) -> list[int]:
        if self.every is None:
            return []
        found: list[int] = []
        for step in ordered:
            # A checkpoint falls on a multiple by chance alone: the first one at or after it counts.
            if step // self.every > (found[-1] // self.every if found else 0):
                found.append(step)
        return found


@dataclass
class Ranking:
    """The best checkpoints so far, the best first; of two that are as good the earlier one is the better.

    Args:
        size: how many are ranked.
    """

    size: int
    places: list[tuple[Score, int]] = field(default_factory=list)

    def add(self, step: int, score: Score) -> None:
        """Give a checkpoint its place.

        Args:
            score: the better, the higher.
        """
        others = [place for place in self.places if place[1] != step]
        self.places = sorted([*others, (score, step)], key=lambda place: place[0], reverse=True)[: self.size]

    @property
    def steps(self) -> list[int]:
        return [step for _, step in self.places]
