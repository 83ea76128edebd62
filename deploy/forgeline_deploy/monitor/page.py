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

from forgeline.spec.units import Share
from forgeline_deploy.monitor import chart

MOST_SHOWN = 8
"""Of what is wrong; the others are folded up below."""
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
        alerts: mappings with `severity`, `about`, `subject`, `text` and `since` (unix seconds), of those that last.
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
    wrong = _wrong(state["findings"], state["alerts"])
    allowed = state["policy"].get("bounds", {}).get("accuracy")
    bound = None if allowed is None else Share.parse(allowed).value
    return _template().render(
        state=state,
        wrong={"shown": wrong[:MOST_SHOWN], "folded": wrong[MOST_SHOWN:]},
        traffic=chart.traffic(state["timeline"]),
        performance=chart.performance(state["timeline"], bound),
        bound=bound,
        width=chart.WIDTH,
        height=chart.HEIGHT,
        policy=POLICY,
    )


@cache
def _template() -> Template:
    loaded = Environment(
        loader=PackageLoader("forgeline_deploy.monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters |= {
        "moment": _moment,
        "clock": _clock,
        "percent": _percent,
        "figure": _figure,
        "clamped": _clamped,
        "title": _title,
    }
    return loaded.get_template("page.html")


def _wrong(findings: Sequence[Mapping[str, Any]], alerts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each thing that is wrong once, pages first: alerts that last, and findings that are no alert."""
    found = {(one["about"], f"{one['stream']}: {one['subject']}"): one for one in findings}
    rows = []
    for alert in alerts:
        newest = found.pop((alert["about"], alert["subject"]), None)
        rows.append({**alert, "now": newest is not None, "text": (newest or alert)["text"]})
    for (_, subject), finding in found.items():
        rows.append({**finding, "subject": subject, "since": None, "now": True})
    return sorted(rows, key=lambda row: (row["severity"] != "page", not row["now"], row["about"] == "drift"))


def _title(window: Mapping[str, Any]) -> str:
    found = "; ".join(finding["text"] for finding in window["findings"]) or (
        "nothing found" if window["judged_rows"] else "too few rows, judged with the next ones"
    )
    return f"{_moment(window['start'])}: {window['rows']:,} rows; {found}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:%M:%S")


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
