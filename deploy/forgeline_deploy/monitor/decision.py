"""What was decided about a window, and why: as it is journalled, shown, sent as an alert, and compared in a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["page", "ticket"]
About = Literal["drift", "errors", "estimate", "latency", "performance", "quality"]

QUIET_WINDOWS = 6
"""Windows in a row without a finding after which its alert is over: of drift those that were judged, else all."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: `page` where users are harmed, `ticket` where the data only look otherwise.
        stream: in words, such as `champion 3`.
        subject: feature or measure that it is about.
        text: one sentence for a person.
        value: what was measured.
        bound: what was allowed; None where there is no such number.
    """

    severity: Severity
    about: About
    stream: str
    subject: str
    text: str
    value: float | None = None
    bound: float | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The judgement on a window.

    Attributes:
        judged_rows: rows that the judgement rests on; 0 where there were too few, which are judged with the next ones.
        findings: what is wrong.
        features: figures by feature, the most surprising first, for the page.
        measures: other figures, by stream and name.
        refused: requests that were no valid input, by stream and by what was wrong with them, most of all first.
    """

    judged_rows: int = 0
    findings: tuple[Finding, ...] = ()
    features: tuple[Mapping[str, Any], ...] = ()
    measures: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    refused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def severity(self) -> Severity | None:
        """The worst of its findings."""
        found = {finding.severity for finding in self.findings}
        return "page" if "page" in found else ("ticket" if found else None)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "judged_rows": self.judged_rows,
            "findings": [finding.plain() for finding in self.findings],
            "features": [dict(feature) for feature in self.features],
            "measures": {stream: dict(measured) for stream, measured in self.measures.items()},
            "refused": {stream: dict(reasons) for stream, reasons in self.refused.items()},
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Decision:
        """Read again from JSON."""
        return cls(
            judged_rows=plain["judged_rows"],
            findings=tuple(Finding(**finding) for finding in plain["findings"]),
            features=tuple(plain["features"]),
            measures=plain["measures"],
            # Decisions of before it was kept have none.
            refused=plain.get("refused", {}),
        )
