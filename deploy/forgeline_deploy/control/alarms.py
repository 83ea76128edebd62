"""From what windows and labels say to alerts that stand: raised while it is found, over once it was not for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgeline_deploy.alerts import Alert, Severity
from forgeline_deploy.monitor import Finding, StoredWindow

if TYPE_CHECKING:
    from forgeline_deploy.alerts.book import AlertBook
    from forgeline_deploy.monitor.labels import LabelFile

ACTED = "control.acted"
"""`entry` of the journal: windows and files of labels up to these numbers were turned into alerts."""

QUIET_WINDOWS = 6
"""Judged windows in a row without a finding after which its alert is over."""

QUIET_LABELS = 1
"""Files of labels without a finding after which its alert is over."""


class Alarms:
    """Keeps the alerts of one deployment in step with what its monitor found.

    Args:
        book: of the alerts.
        deployment: name of the run.
        run_id: of the run.
        model: registered name.
    """

    def __init__(self, book: AlertBook, *, deployment: str, run_id: str, model: str) -> None:
        self._book = book
        self._deployment, self._run_id, self._model = deployment, run_id, model

    def of_windows(self, windows: Sequence[StoredWindow], *, first: int, now: float) -> None:
        """Raise what the windows from number `first` on found, and end what none of the last ones did.

        Raises:
            LedgerError: not all is written down; called again, the rest is.
        """
        for window in windows[first:]:
            for finding in window.decision.findings:
                self._book.see(self._alert(finding, first=window.key.start, window=(window.key.start, window.end)), now)
        judged = [window for window in windows if window.decision.judged_rows or window.decision.findings]
        late = judged[-QUIET_WINDOWS:]
        if len(late) == QUIET_WINDOWS:
            standing = {self._key(finding) for window in late for finding in window.decision.findings}
            self._end({"drift", "errors", "estimate", "latency", "quality"}, standing, now)

    def of_labels(self, files: Sequence[LabelFile], *, first: int, now: float) -> None:
        """The same of files of labels."""
        for file in files[first:]:
            for finding in file.findings:
                self._book.see(self._alert(finding, first=file.taken, window=None), now)
        late = files[-QUIET_LABELS:]
        if late and len(files) > first:
            self._end({"performance"}, {self._key(finding) for file in late for finding in file.findings}, now)

    def tell(
        self, kind: str, severity: Severity, subject: str, summary: str, now: float, **figures: float | str | None
    ) -> None:
        """Raise an alert about the deployment itself, such as a rollback."""
        self._book.see(self._made(kind, severity, subject, summary, first=now, window=None, figures=figures), now)

    def over(self, kind: str, subject: str, now: float, *, summary: str | None = None) -> None:
        """End one of those."""
        made = self._made(kind, Severity.TICKET, subject, "", first=now, window=None, figures={})
        self._book.clear(made.key, now, summary=summary)

    def over_of_version(self, version: str, now: float) -> None:
        """End what stands against a version that answers no more."""
        for standing in self._book.open:
            if standing.alert.figures.get("version") == version:
                self._book.clear(standing.alert.key, now, summary=f"version {version} is replaced")

    def _end(self, kinds: set[str], standing: set[str], now: float) -> None:
        for known in self._book.open:
            if known.alert.kind in kinds and known.alert.key not in standing:
                self._book.clear(known.alert.key, now)

    def _alert(self, finding: Finding, *, first: float, window: tuple[float, float] | None) -> Alert:
        figures = {"value": finding.value, "bound": finding.bound, "version": finding.stream.partition(" ")[2]}
        subject = f"{finding.stream}: {finding.subject}"
        severity = Severity(finding.severity)
        return self._made(finding.about, severity, subject, finding.text, first=first, window=window, figures=figures)

    def _made(
        self,
        kind: str,
        severity: Severity,
        subject: str,
        summary: str,
        *,
        first: float,
        window: tuple[float, float] | None,
        figures: Mapping[str, Any],
    ) -> Alert:
        return Alert(
            kind=kind,
            severity=severity,
            deployment=self._deployment,
            run_id=self._run_id,
            model=self._model,
            subject=subject,
            summary=summary,
            first=first,
            last=first,
            window=window,
            figures=dict(figures),
        )

    def _key(self, finding: Finding) -> str:
        return self._alert(finding, first=0.0, window=None).key


def acted(entries: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many windows, and how many files of labels, were turned into alerts already."""
    windows = labels = 0
    for entry in entries:
        if entry.get("entry") == ACTED:
            windows, labels = int(entry["windows"]), int(entry["labels"])
    return windows, labels
