"""The page `/monitor` of a deployment: one HTML document that asks for nothing else, made from plain data.

Names of features, classes and versions come from data and bundles, so all text is escaped, and the document forbids
itself scripts and every outside address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

_WIDTH, _HEIGHT = 960.0, 120.0
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy that the page is to be sent with."""


def page_state(
    monitored: Mapping[str, Any],
    *,
    deployment: str,
    model: str,
    now: float,
    traffic: Sequence[Mapping[str, Any]] = (),
    comparison: Mapping[str, Any] | None = None,
    alerts: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What `/monitor.json` answers, and `render` draws.

    Args:
        monitored: as `forgeline_deploy.monitor.standing.monitored` gives it.
        deployment: its name.
        model: that is served, with its version.
        now: unix seconds.
        traffic: mappings with `stream` and `share` (0 to 1).
        comparison: of the challenger with the champion, by name of the figure; None where there is no challenger.
        alerts: mappings with `severity` and `text`, of those that last.
        notes: lines that a reader has to know, such as windows that cannot be stored.
    """
    return {
        "deployment": deployment,
        "model": model,
        "now": now,
        **monitored,
        "traffic": [dict(part) for part in traffic],
        "comparison": None if comparison is None else dict(comparison),
        "alerts": [dict(alert) for alert in alerts],
        "notes": list(notes),
    }


def render(state: Mapping[str, Any]) -> str:
    """The page of a state, as `page_state` makes one."""
    chart = _chart(state["timeline"])
    return _template().render(state=state, chart=chart, width=_WIDTH, height=_HEIGHT, policy=POLICY)


@cache
def _template() -> Template:
    loaded = Environment(
        loader=PackageLoader("forgeline_deploy.monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters |= {"moment": _moment, "percent": _percent, "figure": _figure, "clamped": _clamped}
    return loaded.get_template("page.html")


def _chart(timeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bars of rows and lines of latency and errors, in units of the drawing."""
    count = max(len(timeline), 1)
    step = _WIDTH / count
    most = max((window["rows"] for window in timeline), default=0) or 1
    bars = [
        {
            "x": round(place * step, 2),
            "width": round(max(step - 1, 0.5), 2),
            "height": round(max(_HEIGHT * window["rows"] / most, 1.0), 2),
            "severity": window["severity"] or ("thin" if not window["judged_rows"] else "quiet"),
            "title": _title(window),
        }
        for place, window in enumerate(timeline)
    ]
    lines = {name: _line([_worst(window, name) for window in timeline], step) for name in ("p99_s", "errors")}
    return {"bars": bars, "lines": lines, "most": most}


def _line(values: Sequence[float | None], step: float) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    points = [
        f"{(place + 0.5) * step:.1f},{_HEIGHT - (_HEIGHT - 4) * value / top:.1f}"
        for place, value in enumerate(values)
        if value is not None
    ]
    return {"points": " ".join(points), "top": max(known, default=None)}


def _worst(window: Mapping[str, Any], name: str) -> float | None:
    found = [measured[name] for measured in window["measures"].values() if measured.get(name) is not None]
    return max(found, default=None)


def _title(window: Mapping[str, Any]) -> str:
    found = "; ".join(finding["text"] for finding in window["findings"]) or (
        "nothing found" if window["judged_rows"] else "too few rows, judged with the next ones"
    )
    return f"{_moment(window['start'])}: {window['rows']:,} rows; {found}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def _figure(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _clamped(share: float) -> float:
    return round(100 * min(max(share, 0.0), 1.0), 1)
