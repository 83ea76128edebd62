"""From what windows and labels say to alerts that stand: raised while it is found, over once it was not for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgeline_deploy.alerts import Alert, Severity
from forgeline_deploy.monitor import Finding, StoredWindow
from forgeline_deploy.monitor.decision import QUIET_WINDOWS

if TYPE_CHECKING:
    from forgeline_deploy.alerts.book import AlertBook
    from forgeline_deploy.monitor.labels import LabelFile

ACTED = "control.acted"
"""`entry` of the journal: windows and files of labels up to these numbers were turned into alerts."""

QUIET_LABELS = 3
"""Files of labels in a row without a finding after which its alert is over."""

_FEWEST_LABELS = 30
_OF_ROWS, _OF_REQUESTS = {"drift", "estimate"}, {"errors", "latency", "quality"}


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

    def of_windows(self, windows: Sequence[StoredWindow], *, first: int, version: str, now: float) -> None:
        """Raise what the windows from number `first` on found about a version, and end what none of the last ones did.

        Raises:
            LedgerError: not all is written down; called again, the rest is.
        """
        for window in windows[first:]:
            for finding in window.decision.findings:
                if _version(finding) == version:
                    span = (window.key.start, window.end)
                    self._book.see(self._alert(finding, first=window.key.start, window=span), now)
        on_time = [window for window in windows if window.requests and not window.key.generation]
        judged = [window for window in on_time if window.decision.judged_rows]
        self._end_quiet(_OF_ROWS, judged, now)
        self._end_quiet(_OF_REQUESTS, on_time, now)

    def of_labels(self, files: Sequence[LabelFile], *, first: int, version: str, now: float) -> None:
        """The same of files of labels; a file of few labels says nothing."""
        for file in files[first:]:
            for finding in file.findings:
                if _version(finding) == version:
                    self._book.see(self._alert(finding, first=file.taken, window=None), now)
        telling = [file for file in files if sum(found.rows for found in file.by_stream.values()) >= _FEWEST_LABELS]
        late = telling[-QUIET_LABELS:]
        if len(late) == QUIET_LABELS and len(files) > first:
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

    def over_of_kind(self, kind: str, now: float, *, summary: str) -> None:
        """End all that stands of a kind."""
        for standing in self._book.open:
            if standing.alert.kind == kind:
                self._book.clear(standing.alert.key, now, summary=summary)

    def over_of_version(self, version: str, now: float) -> None:
        """End what stands against a version that answers no more."""
        for standing in self._book.open:
            if standing.alert.figures.get("version") == version:
                self._book.clear(standing.alert.key, now, summary=f"version {version} is replaced")

    def _end_quiet(self, kinds: set[str], windows: Sequence[StoredWindow], now: float) -> None:
        late = windows[-QUIET_WINDOWS:]
        if len(late) == QUIET_WINDOWS:
            self._end(kinds, {self._key(finding) for window in late for finding in window.decision.findings}, now)

    def _end(self, kinds: set[str], standing: set[str], now: float) -> None:
        for known in self._book.open:
            if known.alert.kind in kinds and known.alert.key not in standing:
                self._book.clear(known.alert.key, now)

    def _alert(self, finding: Finding, *, first: float, window: tuple[float, float] | None) -> Alert:
        figures = {"value": finding.value, "bound": finding.bound, "version": _version(finding)}
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


def _version(finding: Finding) -> str:
    return finding.stream.partition(" ")[2]
