"""Drawings of the page: bars of rows by window, and lines over them, in units of the drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 960.0, 120.0
_FEWEST_LABELS = 20
"""Labelled answers of a window and stream, of which a share is drawn."""
_ROOM = 4.0

Timeline = Sequence[Mapping[str, Any]]


def traffic(timeline: Timeline) -> dict[str, Any]:
    """Bars of rows, and lines of latency and errors; each line is as high as its largest value."""
    step = WIDTH / max(len(timeline), 1)
    most = max((window["rows"] for window in timeline), default=0) or 1
    bars = [
        {
            "x": round(place * step, 2),
            "width": round(max(step - 1, 0.5), 2),
            "height": round(max(HEIGHT * window["rows"] / most, 1.0), 2),
            "severity": window["severity"] or ("thin" if not window["judged_rows"] else "quiet"),
            "window": window,
        }
        for place, window in enumerate(timeline)
    ]
    lines = {}
    for name in ("p99_s", "errors"):
        values = [_worst(window, name) for window in timeline]
        top = max((value for value in values if value is not None), default=None)
        lines[name] = {"points": _points(values, 0.0, top or 1.0), "top": top}
    return {"bars": bars, "lines": lines, "most": most}


def performance(timeline: Timeline, bound: float | None) -> dict[str, Any] | None:
    """Labelled accuracy by stream, and the champion's estimated one with its interval, on one scale up to 1.

    Args:
        bound: the least accuracy that is allowed.

    Returns:
        None where there is neither.
    """
    streams = sorted({stream for window in timeline for stream in window["labelled"]})
    labelled = {stream: [_labelled(window, stream) for window in timeline] for stream in streams}
    champions = [_champion(window) for window in timeline]
    estimated = {
        name: [one.get(name) for one in champions] for name in ("estimated_accuracy", "estimated_low", "estimated_high")
    }
    drawn = [*labelled.values(), *estimated.values(), [bound]]
    lowest = min((value for values in drawn[:-1] for value in values if value is not None), default=None)
    if lowest is None:
        return None
    bottom = math.floor(10 * min(lowest, 1.0 if bound is None else bound, 0.95)) / 10
    back = list(reversed(_points(estimated["estimated_low"], bottom, 1.0).split()))
    return {
        "bottom": bottom,
        "bound": None if bound is None else round(_height(bound, bottom, 1.0), 1),
        "band": " ".join([*_points(estimated["estimated_high"], bottom, 1.0).split(), *back]),
        "estimated": _points(estimated["estimated_accuracy"], bottom, 1.0),
        "labelled": {
            stream: {"role": stream.split(" ")[0], "points": _points(values, bottom, 1.0)}
            for stream, values in labelled.items()
            if any(value is not None for value in values)
        },
    }


def _points(values: Sequence[float | None], bottom: float, top: float) -> str:
    """Points of a line over the middle of each window; windows without a value are passed over."""
    step = WIDTH / max(len(values), 1)
    return " ".join(
        f"{(place + 0.5) * step:.1f},{_height(value, bottom, top):.1f}"
        for place, value in enumerate(values)
        if value is not None
    )


def _height(value: float, bottom: float, top: float) -> float:
    return HEIGHT - (HEIGHT - _ROOM) * (value - bottom) / (top - bottom)


def _worst(window: Mapping[str, Any], name: str) -> float | None:
    found = [measured[name] for measured in window["measures"].values() if measured.get(name) is not None]
    return max(found, default=None)


def _labelled(window: Mapping[str, Any], stream: str) -> float | None:
    found = window["labelled"].get(stream)
    if found is None or found["correct"] is None or found["rows"] < _FEWEST_LABELS:
        return None
    return float(found["correct"] / found["rows"])


def _champion(window: Mapping[str, Any]) -> Mapping[str, float | None]:
    found = [measured for stream, measured in window["measures"].items() if stream.startswith("champion")]
    return found[-1] if found else {}
