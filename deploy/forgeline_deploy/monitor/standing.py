"""How a monitored deployment stands, as plain data: what `monitor show`, `/monitor.json` and the page are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgeline_deploy.monitor.decision import Finding
from forgeline_deploy.monitor.harm import wilson
from forgeline_deploy.monitor.hours import by_hour
from forgeline_deploy.monitor.labels import LabelFile, labelled_by_stream, labelled_by_window
from forgeline_deploy.monitor.performance import Labelled
from forgeline_deploy.monitor.recorded import Recorded
from forgeline_deploy.monitor.store import StoredWindow
from forgeline_deploy.performance import text_of

MOST_WINDOWS = 288
"""On a page; with windows of five minutes, a day of them."""


def standing(recorded: Recorded) -> dict[str, Any]:
    """Of a run."""
    return {
        "run": recorded.run.id,
        "name": recorded.run.name,
        "state": str(recorded.run.state),
        **monitored(
            recorded.windows, recorded.labels, policy=recorded.policy.model_dump(mode="json"), timeline=MOST_WINDOWS
        ),
    }


def monitored(
    windows: Sequence[StoredWindow], labels: Sequence[LabelFile], *, policy: Mapping[str, Any], timeline: int
) -> dict[str, Any]:
    """Of stored windows; `timeline` of them, the newest, are listed.

    `findings` are those of the newest window that was judged, and of the newest labels.
    """
    on_time = [window for window in windows if not window.key.generation]
    judged = [window for window in on_time if window.decision.judged_rows or window.decision.findings]
    by_window = labelled_by_window(labels)
    newest = on_time[-1] if on_time else None
    features = judged[-1].decision.features if judged else ()
    findings: list[Finding] = [*(judged[-1].decision.findings if judged else ())]
    findings += labels[-1].findings if labels else ()
    return {
        "policy": dict(policy),
        "windows": len(on_time),
        "late_rows": sum(window.rows for window in windows if window.key.generation),
        "newest": None if newest is None else window_row(newest),
        "findings": [finding.plain() for finding in findings],
        "features": [dict(feature) for feature in features],
        "labelled": {str(stream): _labelled(found) for stream, found in sorted(labelled_by_stream(labels).items())},
        "timeline": [
            window_row(window) | {"labelled": by_window.get(window.number, {})} for window in on_time[-timeline:]
        ],
    }


def window_row(window: StoredWindow) -> dict[str, Any]:
    """A window as a listing has it."""
    return {
        "number": window.number,
        "start": window.key.start,
        "end": window.end,
        "late": window.key.generation > 0,
        "rows": window.rows,
        "requests": window.requests,
        "judged_rows": window.decision.judged_rows,
        "severity": window.decision.severity,
        "findings": [finding.plain() for finding in window.decision.findings],
        "measures": {stream: dict(measured) for stream, measured in window.decision.measures.items()},
        "estimates": _estimates(window),
        "against": _against(window),
        "refused": _refused(window),
        "remarks": list(window.remarks),
        "file": window.file.name,
        "sha256": window.file.sha256,
    }


def _estimates(window: StoredWindow) -> dict[str, str]:
    """What is estimated without labels, a line for each stream that there is an estimate of."""
    lines = {stream: text_of(measured) for stream, measured in window.decision.measures.items()}
    return {stream: line for stream, line in lines.items() if line is not None}


def _refused(window: StoredWindow) -> dict[str, str]:
    """What was no valid input, by status and field, most of all first; of streams that had such."""
    return {
        stream: ", ".join(f"{reason} ({count:,})" for reason, count in reasons.items())
        for stream, reasons in window.decision.refused.items()
    }


def _against(window: StoredWindow) -> dict[str, str]:
    """What each stream was judged by, where hours of the week have references of their own."""
    found = {stream: measured for stream, measured in window.decision.measures.items() if "hour" in measured}
    return {
        stream: by_hour(
            int(measured["hour"] or 0), None if measured["hour_rows"] is None else int(measured["hour_rows"])
        )
        for stream, measured in found.items()
    }


def _labelled(found: Labelled) -> dict[str, Any]:
    """Figures with a 95 % interval."""
    if found.correct is not None:
        share, interval = found.correct / found.rows, wilson(found.correct, found.rows)
        assert interval is not None
        low, high = interval
        text = f"accuracy {share:.4f} ({low:.4f} to {high:.4f}) of {found.rows:,} labelled answers"
        return {"rows": found.rows, "accuracy": share, "low": low, "high": high, "text": text}
    if found.error is None or found.rows < 2:
        return {"rows": found.rows, "text": f"{found.rows} labelled answers"}
    mean, half = found.error.mean, 1.959964 * found.error.standard_error
    text = f"mean error {mean:.4g} ({max(mean - half, 0):.4g} to {mean + half:.4g}) of {found.rows:,} labelled answers"
    return {"rows": found.rows, "mean_error": mean, "low": max(mean - half, 0.0), "high": mean + half, "text": text}
