"""Judging: closed windows in, decisions out. Pure, and its state is JSON, so that a replay decides as it was decided.

Only the champion's windows are judged: a challenger is held against the champion by the rollout, and what it is asked
is the champion's own traffic. Every version has a detector of its own, held against its own reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from forgeline.errors import UsageError
from forgeline_deploy.detection import Detector, DetectorState, FeatureVerdict, HourlyDetector, Verdict, ranking
from forgeline_deploy.monitor.decision import Decision, Finding
from forgeline_deploy.monitor.harm import HarmTests
from forgeline_deploy.monitor.hours import Hours
from forgeline_deploy.monitor.pane import PaneKey, Stream, Tally
from forgeline_deploy.monitor.performance import Labelled
from forgeline_deploy.monitor.spec import MonitorConfig
from forgeline_deploy.monitor.window import Window
from forgeline_deploy.performance import Estimator

if TYPE_CHECKING:
    from forgeline.bundle.observation import Observation
    from forgeline.bundle.reference import Reference

CHAMPION = "champion"
HARM_PART = 0.1
"""Part of the promised rate of false alarms that tests of harm may use; the drift detector has the rest."""
_MOST_BOUNDS = 5
SUCCESSIVE = 3
"""Judged windows in a row whose estimate is below the bound before that is told: one interval of 95 % is no proof."""
_RANKED = 10
"""Features that a decision names besides those that alarm, and reasons of refusals; the window's file has all."""


_Judged = tuple[Stream, int | None]
"""Whose rows, and the hour of the week that they are judged by; None for the model's reference."""


class Judge:
    """Judges windows in their order.

    Args:
        config: the policy.
        references: what each version is held against, by version; others are counted and not judged.

    Raises:
        UsageError: a tolerance names a feature that a reference does not have.
    """

    def __init__(self, config: MonitorConfig, references: Mapping[str, Reference]) -> None:
        self.config = config
        self._harm = HarmTests(bounds=config.bounds, alpha=HARM_PART / config.windows_between_alarms / _MOST_BOUNDS)
        self._detectors: dict[str, Detector] = {}
        self._estimators: dict[str, Estimator | None] = {}
        self._below: dict[Stream, int] = {}
        self.hours: dict[str, Hours] = {}
        for version, reference in references.items():
            self.watch(version, reference)
        self._carried: dict[_Judged, list[tuple[PaneKey, Tally]]] = {}

    def watch(self, version: str, reference: Reference) -> None:
        """Judge another version, from its next window on."""
        self._estimators[version] = Estimator.of(reference)
        spec, windows = self.config.hour_of_week, self.config.windows_between_alarms / (1 - HARM_PART)
        settings: dict[str, Any] = {"tolerance": self.config.tolerance, "fewest_rows": self.config.minimum}
        # With hours, half of what may be spent on bounds is theirs.
        shared = 1 if spec is None else 2
        self._detectors[version] = Detector(reference, windows=windows, references=shared, **settings)
        if spec is not None:
            self.hours[version] = Hours(spec, HourlyDetector(reference, windows=windows, **settings))

    def learn(self, window: Window) -> None:
        """Take in what a window that was judged before says of its hour of the week."""
        for stream, part in window.parts.items():
            if stream.role == CHAMPION and stream.version in self.hours and part.tally.observation is not None:
                if not window.is_late:
                    self.hours[stream.version].learn(window.key.start, part.tally.observation)

    def step(self, window: Window) -> Decision:
        """Judge the next window. Late data are shown and not judged."""
        measures = {str(stream): self._measures(stream, part.tally) for stream, part in window.parts.items()}
        tallies = {str(stream): part.tally for stream, part in window.parts.items()}
        refused = {stream: _most(tally.refused) for stream, tally in tallies.items() if tally.refused}
        if window.is_late:
            return Decision(measures=measures, refused=refused)
        rows, findings, features = 0, list[Finding](), list[Mapping[str, Any]]()
        for stream, part in window.parts.items():
            if stream.role != CHAMPION:
                continue
            findings += self._harm.of_requests(stream, part.tally)
            hours, start = self.hours.get(stream.version), window.key.start
            hour = hours.of(start) if hours is not None and hours.settled(start) else None
            judged = self._judged((stream, hour), window.key, part.tally)
            against = None if hours is None else hours.told(start)
            if hours is not None and part.tally.observation is not None:
                measures[str(stream)] |= {
                    "hour": hours.of(start),
                    "hour_rows": hours.rows(start) if hour is not None else None,
                }
            if judged is None:
                continue
            if hours is not None and hour is not None:
                verdict = hours.step(start, judged)
            else:
                verdict = self._detectors[stream.version].step(judged)
            rows += verdict.rows
            findings += self._estimated_below(stream, judged)
            findings += _drifted(stream, verdict, against)
            features += _ranked(stream, verdict)
            measures[str(stream)] |= {"evidence": verdict.evidence, "threshold": verdict.threshold}
        self.learn(window)
        return Decision(
            judged_rows=rows,
            findings=tuple(findings),
            features=tuple(features),
            measures=measures,
            refused=refused,
        )

    def of_labels(self, labelled: Mapping[Stream, Labelled]) -> tuple[Finding, ...]:
        """Judge labels that came together."""
        judged = [(stream, found) for stream, found in sorted(labelled.items()) if stream.role == CHAMPION]
        return tuple(finding for stream, found in judged for finding in self._harm.of_labels(stream, found))

    def state(self) -> dict[str, Any]:
        """What to store after a window."""
        return {
            "detectors": {version: found.state().model_dump(mode="json") for version, found in self._detectors.items()},
            "reference": self._by,
            "hours": {version: found.state() for version, found in self.hours.items()},
            "carried": [
                [stream.role, stream.version, [[key.start, key.generation] for key, _ in carried], hour]
                for (stream, hour), carried in self._carried.items()
            ],
            "below": [[stream.role, stream.version, count] for stream, count in sorted(self._below.items()) if count],
        }

    def restore(self, state: Mapping[str, Any], window_at: Callable[[PaneKey], Window | None]) -> None:
        """Go on from a state.

        Args:
            window_at: reads a stored window, of those that had too few rows to be judged by then; of None nothing is
                judged.

        Raises:
            UsageError: it belongs to another policy, or to other references.
        """
        if (by := state.get("reference", "model")) != self._by:
            raise UsageError(
                f"the stored state of the monitor is of monitor.reference {by}, and asked is {self._by}; allowed: that "
                "of the same settings: start a fresh monitor and replay the windows"
            )
        for version, stored in state["detectors"].items():
            if version in self._detectors:
                self._detectors[version].restore(DetectorState.model_validate(stored))
        for version, stored in state.get("hours", {}).items():
            if version in self.hours:
                self.hours[version].restore(stored)
        self._below = {Stream(role, version): count for role, version, count in state.get("below", [])}
        self._carried = {}
        for role, version, keys, *hour in state["carried"]:
            stream = Stream(role, version)
            places = [PaneKey(start, generation) for start, generation in keys]
            windows = [(key, window_at(key)) for key in places]
            self._carried[stream, hour[0] if hour else None] = [
                (key, window.parts[stream].tally) for key, window in windows if window is not None
            ]

    @property
    def _by(self) -> Any:
        """What windows are held against, as JSON: of hours that are learnt otherwise another evidence would come."""
        return self.config.model_dump(mode="json")["reference"]

    def _judged(self, by: _Judged, key: PaneKey, tally: Tally) -> Observation | None:
        """The rows since the last verdict on this stream, by the same reference; None while these are too few."""
        stream, _ = by
        if stream.version not in self._detectors or tally.observation is None:
            return None
        # A replica of an earlier release counted other features: its rows stay stored, and are not judged with these.
        before = [held for held in self._carried.pop(by, []) if _counted_alike(held[1], tally)]
        carried = [*before, (key, tally)]
        together = sum((held for _, held in carried), start=Tally())
        assert together.observation is not None
        if together.rows < self.config.minimum:
            self._carried[by] = carried
            return None
        return together.observation

    def _estimated_below(self, stream: Stream, judged: Observation) -> list[Finding]:
        """That the accuracy is probably below its bound, once that was so for some windows in a row."""
        estimator = self._estimators[stream.version]
        estimated = None if estimator is None else estimator.estimate(judged)
        finding = None if estimated is None else self._harm.of_estimate(stream, estimated)
        self._below[stream] = 0 if finding is None else self._below.get(stream, 0) + 1
        return [] if finding is None or self._below[stream] < SUCCESSIVE else [finding]

    def _measures(self, stream: Stream, tally: Tally) -> dict[str, float | None]:
        measured: dict[str, float | None] = {
            "rows": tally.rows,
            "requests": tally.requests,
            "errors": tally.errors / tally.requests if tally.requests else None,
            "refused": sum(tally.refused.values()) / tally.requests if tally.requests else None,
            "p50_s": tally.latency.quantile_s(0.5),
            "p99_s": tally.latency.quantile_s(0.99),
        }
        estimator = self._estimators.get(stream.version)
        if estimator is not None and tally.observation is not None:
            estimated = estimator.estimate(tally.observation)
            measured |= {} if estimated is None else estimated.figures()
        return measured


def together(windows: Iterable[Window], window_s: float) -> Iterator[Window]:
    """Stored windows in their order, as windows of a multiple of their length. Late ones stay as they are."""
    held: list[Window] = []
    for window in windows:
        if window.is_late:
            yield window
            continue
        if held and (_start(held[0], window_s) != _start(window, window_s) or not _alike(held[0], window)):
            yield _one(held, window_s)
            held = []
        held.append(window)
    if held:
        yield _one(held, window_s)


def _start(window: Window, window_s: float) -> float:
    return window.key.start // window_s * window_s


def _alike(one: Window, other: Window) -> bool:
    both = one.parts.keys() & other.parts.keys()
    return all(_counted_alike(one.parts[stream].tally, other.parts[stream].tally) for stream in both)


def _counted_alike(one: Tally, other: Tally) -> bool:
    """Whether the same features were counted of both, or nothing of one."""
    if one.observation is None or other.observation is None:
        return True
    sides = ((one.observation.inputs, other.observation.inputs), (one.observation.outputs, other.observation.outputs))
    return all(mine.keys() == theirs.keys() for mine, theirs in sides)


def _one(windows: list[Window], window_s: float) -> Window:
    parts: dict[Stream, Any] = {}
    for window in windows:
        for stream, part in window.parts.items():
            parts[stream] = part if stream not in parts else parts[stream] + part
    start = _start(windows[0], window_s)
    return Window(
        key=PaneKey(start),
        end=start + window_s,
        closed=windows[-1].closed,
        parts=dict(sorted(parts.items())),
        included={},
    )


def _most(refused: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(refused.items(), key=lambda item: (-item[1], item[0]))[:_RANKED])


def _drifted(stream: Stream, verdict: Verdict, against: str | None) -> Iterator[Finding]:
    by = "" if against is None else f"; against {against}"
    for feature in verdict.alarming:
        shift = "" if feature.shift_std is None else f", its mean by {feature.shift_std:+.2f} sigma"
        kind = "at once" if feature.sudden else f"lastingly ({feature.direction})"
        yield Finding(
            severity="ticket",
            about="drift",
            stream=str(stream),
            subject=feature.feature,
            text=f"the {feature.role} {feature.feature} drifted {kind}: distance {feature.distance:.3f}, by chance "
            f"{feature.by_chance:.3f}{shift}{by}",
            value=feature.distance,
            bound=feature.by_chance,
        )


def _ranked(stream: Stream, verdict: Verdict) -> Iterator[Mapping[str, Any]]:
    for place, (feature, level) in enumerate(ranking(verdict)):
        if place < _RANKED or feature.alarm:
            yield _row(stream, feature) | {"adjusted_p": level}


def _row(stream: Stream, feature: FeatureVerdict) -> dict[str, Any]:
    names = (
        "feature", "role", "kind", "values", "p", "evidence", "direction", "sudden", "lasting", "distance",
        "by_chance", "shift_std", "nulls", "outside",
    )  # fmt: skip
    return {"stream": str(stream)} | {name: getattr(feature, name) for name in names}
