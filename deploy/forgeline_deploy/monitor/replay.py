"""Stored windows judged by another policy: what it would have said, beside what was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeline.spec.source import read_document
from forgeline.spec.validation import validate_part
from forgeline_deploy.monitor.decision import Finding
from forgeline_deploy.monitor.judging import Judge, together
from forgeline_deploy.monitor.recorded import Recorded
from forgeline_deploy.monitor.spec import MonitorConfig, windows_together
from forgeline_deploy.monitor.store import StoredWindow
from forgeline_deploy.monitor.window import Window

_OF_OTHERS = {"alert", "report", "retrain"}
"""Keys of `monitor` that say what follows from a decision, and not what is decided."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A window of the other policy.

    Attributes:
        start, end: of its event time, unix seconds.
        windows: numbers of the stored windows that it is made of.
        rows: answered rows.
        decided: what was found in these.
        would: what the other policy finds.
    """

    start: float
    end: float
    windows: tuple[int, ...]
    rows: int
    decided: tuple[Finding, ...]
    would: tuple[Finding, ...]

    @property
    def agrees(self) -> bool:
        """Whether both found the same things, whatever the figures."""
        return _subjects(self.decided) == _subjects(self.would)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "start": self.start,
            "end": self.end,
            "windows": list(self.windows),
            "rows": self.rows,
            "decided": [finding.plain() for finding in self.decided],
            "would": [finding.plain() for finding in self.would],
            "agrees": self.agrees,
        }


def policy_of(path: Path, base: MonitorConfig) -> MonitorConfig:
    """The policy of a file: of a deployment, or only its `monitor`. What it leaves out stays as it was.

    Raises:
        SpecError: it cannot be read, or is no policy.
    """
    document = read_document(path)
    inside = "monitor" in document.data or "kind" in document.data
    given = document.data.get("monitor") if inside else document.data
    if not isinstance(given, dict):
        raise document.error("expected the mapping `monitor`, such as `monitor: {window: 10m}`", ("monitor",))
    own = {key: value for key, value in given.items() if key not in _OF_OTHERS}
    merged = base.model_dump(mode="json") | own
    return validate_part(MonitorConfig, merged, ("monitor",) if inside else (), document)


def replay(
    recorded: Recorded, policy: MonitorConfig, *, since: float = float("-inf"), broken: list[str] | None = None
) -> Iterator[Replayed]:
    """Judge the stored windows by another policy, in their order.

    All windows are judged, since what a detector says rests on those before; those that end by `since` are not told.

    Args:
        recorded: what was monitored.
        policy: the other one; its window is that of the stored ones or a multiple.
        since: unix seconds.
        broken: takes a line on each window whose file is not as it was stored, and is left out.

    Raises:
        UsageError: the windows cannot be put together, or a tolerance names an unknown feature.
        WindowCorrupted: a reference is not as it was stored.
    """
    windows_together(policy.window_s, recorded.policy.window_s)
    judge = Judge(policy, recorded.references())
    stored = {one.key: one for one in recorded.windows}
    readable = (window for _, window in recorded.read([] if broken is None else broken) if not window.is_late)
    for window in together(readable, policy.window_s):
        would = judge.step(window).findings
        if window.end > since:
            yield _beside(window, [one for one in stored.values() if _within(one, window)], would)
    for file in recorded.labels:
        would = judge.of_labels(file.by_stream)
        if file.taken > since and (would or file.findings):
            rows = sum(labelled.rows for labelled in file.by_stream.values())
            yield Replayed(start=file.taken, end=file.taken, windows=(), rows=rows, decided=file.findings, would=would)


def _beside(window: Window, of: list[StoredWindow], would: tuple[Finding, ...]) -> Replayed:
    return Replayed(
        start=window.key.start,
        end=window.end,
        windows=tuple(one.number for one in of),
        rows=window.rows,
        decided=tuple(finding for one in of for finding in one.decision.findings),
        would=would,
    )


def _within(stored: StoredWindow, window: Window) -> bool:
    return not stored.key.generation and window.key.start <= stored.key.start < window.end


def _subjects(findings: tuple[Finding, ...]) -> Mapping[tuple[str, str, str], str]:
    return {(finding.about, finding.stream, finding.subject): finding.severity for finding in findings}
