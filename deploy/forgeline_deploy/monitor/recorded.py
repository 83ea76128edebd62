"""What a deployment's monitor has left: for commands, reports and pages, beside the process that writes it or after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgeline.errors import NotFound, UsageError
from forgeline.paths import RunPaths
from forgeline_deploy.monitor.labels import LabelFile, label_files
from forgeline_deploy.monitor.policy import latest_policy, read_references
from forgeline_deploy.monitor.spec import MonitorConfig
from forgeline_deploy.monitor.store import StoredWindow, WindowFolder, stored_windows
from forgeline_deploy.monitor.window import Window
from forgeline_deploy.monitor.window_file import WindowCorrupted

if TYPE_CHECKING:
    from forgeline.bundle.reference import Reference
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord

FOLDER = "windows"
"""In the run's folder."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The journal of a monitored run, read.

    Attributes:
        windows: in the order of their storing, late ones among them.
        labels: files of labels that were taken.
        policy: what the monitor went by last.
    """

    run: RunRecord
    folder: WindowFolder
    windows: Sequence[StoredWindow]
    labels: Sequence[LabelFile]
    policy: MonitorConfig
    entries: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, ledger: Ledger, paths: RunPaths, run: RunRecord) -> Recorded:
        """Of a run.

        Raises:
            UsageError: it was never monitored.
        """
        entries = ledger.journal(run.id)
        policy = latest_policy(entries)
        if policy is None:
            raise UsageError(
                f"run {run.id} ({run.name}, kind {run.kind}) has no monitor; allowed: deployments whose specification "
                "has `monitor`, once they have started"
            )
        return cls(
            run=run,
            folder=WindowFolder(paths.root / FOLDER),
            windows=stored_windows(entries),
            labels=label_files(entries),
            policy=MonitorConfig.model_validate(policy),
            entries=entries,
        )

    def references(self) -> dict[str, Reference]:
        """What windows are held against, by version.

        Raises:
            WindowCorrupted: one is not as it was stored.
        """
        return read_references(self.folder, self.entries)

    def read(self, broken: list[str]) -> Iterator[tuple[StoredWindow, Window]]:
        """The windows with their counts; those whose file is not as it was stored are named in `broken`."""
        for stored in self.windows:
            try:
                yield stored, self.folder.read(stored)[0]
            except WindowCorrupted as error:
                broken.append(f"window {stored.number}: {error}")

    def window(self, number: int) -> StoredWindow:
        """A window by its number.

        Raises:
            NotFound: there is none.
        """
        if not 0 <= number < len(self.windows):
            raise NotFound(f"run {self.run.id} has no window {number}; it has {len(self.windows)}, counted from 0")
        return self.windows[number]


def open_recorded(reference: str) -> Recorded:
    """The monitoring of a deployment by id, start of an id, or name.

    Raises:
        NotFound: no such run.
        UsageError: it was never monitored.
    """
    from forgeline.ledger.ledger import open_ledger
    from forgeline.settings import settings

    ledger = open_ledger()
    run = ledger.get(reference)
    return Recorded.of(ledger, RunPaths(settings().home_folder, run.id), run)
