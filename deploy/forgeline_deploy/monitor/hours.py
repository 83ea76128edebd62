"""What each hour of the week was like, learnt from a version's own windows: pure, as judging is.

An hour's reference is fixed once, when an hour begins that `weeks` have passed before since the version's first window,
and of which there are `rows`. Until then its windows are judged by the model's reference, and learnt from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from forgeline_deploy.detection import DetectorState, HourlyDetector, Verdict
from forgeline_deploy.monitor.pane import Stream, Tally
from forgeline_deploy.monitor.spec import HourOfWeek
from forgeline_deploy.monitor.window import Part

if TYPE_CHECKING:
    from forgeline.bundle.observation import Observation

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_S, _WEEK_S = 86_400.0, 7 * 86_400.0


def by_hour(hour: int, rows: int | None) -> str:
    """What windows of an hour are judged by, in words; without rows, the model's reference."""
    name = f"{_DAYS[hour // 24]} {hour % 24:02}:00"
    if rows is None:
        return f"the model's reference, as little is known of {name} yet"
    return f"{name} of other weeks, {rows:,} rows"


class Hours:
    """The hours of one version.

    Args:
        spec: how they are learnt.
        detector: judges by them.
    """

    def __init__(self, spec: HourOfWeek, detector: HourlyDetector) -> None:
        self._spec, self._zone, self._detector = spec, ZoneInfo(spec.timezone), detector
        self._began: float | None = None
        self._seen: dict[int, Observation] = {}
        self._newest: dict[int, float] = {}
        self._settled: set[int] = set()

    def of(self, start: float) -> int:
        """The hour of the week that a window is in by its start, by the clock of the time zone; Monday's first is 0."""
        local = datetime.fromtimestamp(start, self._zone)
        return 24 * local.weekday() + local.hour

    def settled(self, start: float) -> bool:
        """Whether windows of this hour are judged by what it was like before; from now on where its time has come."""
        hour = self.of(start)
        if hour not in self._settled and self._began is not None and hour in self._seen:
            # Not within the hour that was learnt from last: an hour is held against those of other weeks.
            another = start - self._newest[hour] >= _DAY_S
            enough = self._seen[hour].rows >= self._spec.rows
            if another and enough and start >= self._began + self._spec.weeks * _WEEK_S:
                self._settled.add(hour)
        return hour in self._settled

    def learn(self, start: float, seen: Observation) -> None:
        """Take in a window, in their order, unless its hour is settled."""
        if self._began is None:
            self._began = start
        if self.settled(start):
            return
        hour = self.of(start)
        before = self._seen.get(hour)
        # Of an earlier release other features were counted.
        alike = before is not None and (before.inputs.keys(), before.outputs.keys()) == (
            seen.inputs.keys(),
            seen.outputs.keys(),
        )
        self._seen[hour] = before + seen if before is not None and alike else seen
        self._newest[hour] = start

    def step(self, start: float, window: Observation) -> Verdict:
        """Judge a window whose hour is settled."""
        return self._detector.step(self._seen[self.of(start)], window)

    def rows(self, start: float) -> int:
        """Rows of other windows that are known of a window's hour."""
        seen = self._seen.get(self.of(start))
        return 0 if seen is None else seen.rows

    def told(self, start: float) -> str:
        """What a window is judged by, in words."""
        hour, rows = self.of(start), self.rows(start)
        if hour in self._settled:
            return by_hour(hour, rows)
        weeks = f"{self._spec.weeks} week{'s' if self._spec.weeks > 1 else ''}"
        return f"{by_hour(hour, None)}: {rows:,} rows; asked are {self._spec.rows:,} from {weeks}"

    def state(self) -> dict[str, Any]:
        """Of the detector."""
        return self._detector.state().model_dump(mode="json")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the detector.

        Raises:
            UsageError: it belongs to another policy or reference.
        """
        self._detector.restore(DetectorState.model_validate(state))

    def learnt(self, version: str) -> tuple[dict[Stream, Part], dict[str, Any]]:
        """All that was learnt, as parts of a window by hour, and the rest as JSON."""
        parts = {Stream(str(hour), version): Part(tally=Tally(observation=seen)) for hour, seen in self._seen.items()}
        newest = {str(hour): start for hour, start in sorted(self._newest.items())}
        return parts, {"began": self._began, "newest": newest, "settled": sorted(self._settled)}

    def take(self, parts: Iterable[tuple[Stream, Part]], rest: Mapping[str, Any]) -> None:
        """Take over what `learnt` gave."""
        for stream, part in parts:
            assert part.tally.observation is not None
            self._seen[int(stream.role)] = part.tally.observation
        self._began = rest["began"]
        self._newest = {int(hour): start for hour, start in rest["newest"].items()}
        self._settled = set(rest["settled"])
