"""When an attempt hangs, and which ranks are to blame: those that all others wait for, and that do not get on.

Progress is told by beats, never by time of day. A rank that waits for another stands still as well; to blame are those
with the least progress, and their phase decides how long it may last. What is slow by nature (imports and connections,
the first time of each phase, compiling, measuring, writing a checkpoint, handing over) has longer. So have
steps that have been slow before: five times the longest pause that ended by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forgeline_jobs.train.heartbeat import Beat, Phase

SLOW_FACTOR = 30
SLOWEST_S = 1500.0
"""No wait is longer: the collectives' own timeout, half an hour, would come first and name nobody."""

_PATIENCE = 5
_SLOW = frozenset({Phase.STARTING, Phase.MEASURING, Phase.SAVING, Phase.FINISHING, Phase.COMPILING})


@dataclass
class _Seen:
    beat: Beat
    since: float


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A rank that does not get on.

    Attributes:
        for_s: seconds since it last did.
    """

    beat: Beat
    for_s: float


class HangWatch:
    """Judges the beats of one attempt.

    Args:
        after_s: seconds without progress that a step may last.
        is_stopped: whether the process of a rank is stopped, which no phase excuses.
    """

    def __init__(self, after_s: float, *, is_stopped: Callable[[Beat], bool] = lambda beat: False) -> None:
        self._after_s = after_s
        self._slow_s = max(after_s, min(SLOW_FACTOR * after_s, SLOWEST_S))
        self._is_stopped = is_stopped
        self._seen: dict[int, _Seen] = {}
        self._longest_s = 0.0
        self.progressed_at: float | None = None
        """When the rank that is furthest behind last got on; None before there is one."""

    def look(self, beats: Mapping[int, Beat], now: float) -> list[Stuck]:
        """The ranks that hang; none as long as the attempt gets on.

        Args:
            beats: the newest beat of each rank that has begun.
            now: on a clock that only grows.
        """
        before = self._behind({rank: seen.beat for rank, seen in self._seen.items() if not seen.beat.done})
        for rank, beat in beats.items():
            self._note(rank, beat, now, was_behind=rank in before)
        living = {rank: beat for rank, beat in beats.items() if not beat.done}
        waiting = {rank: now - self._seen[rank].since for rank in living}
        stopped = [rank for rank in sorted(living) if self._lasts(waiting[rank]) and self._is_stopped(living[rank])]
        behind = self._behind(living)
        over = all(waiting[rank] >= self._bound_s(living[rank]) for rank in behind)
        return [Stuck(beat=living[rank], for_s=waiting[rank]) for rank in stopped or (behind if over else [])]

    @staticmethod
    def _behind(living: Mapping[int, Beat]) -> list[int]:
        least = min((beat.place for beat in living.values()), default=None)
        return sorted(rank for rank, beat in living.items() if beat.place == least)

    def _lasts(self, waiting_s: float) -> bool:
        return waiting_s >= self._after_s

    def _note(self, rank: int, beat: Beat, now: float, *, was_behind: bool) -> None:
        seen = self._seen.get(rank)
        if seen is not None and seen.beat.place == beat.place and seen.beat.phase is beat.phase:
            return
        if was_behind or seen is None:
            self.progressed_at = now
        # A pause of a rank that waited for another says nothing about how long a step takes.
        if seen is not None and was_behind and not self._is_slow(seen.beat):
            self._longest_s = max(self._longest_s, now - seen.since)
        self._seen[rank] = _Seen(beat, now)

    @staticmethod
    def _is_slow(beat: Beat) -> bool:
        return beat.fresh or beat.phase in _SLOW

    def _bound_s(self, beat: Beat) -> float:
        if self._is_slow(beat):
            return self._slow_s
        return min(max(self._after_s, _PATIENCE * self._longest_s), self._slow_s)
