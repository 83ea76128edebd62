"""The monitor of a deployment as the controller runs it: its versions, their references, and where windows are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline_deploy.monitor import Delivery, Monitor, MonitorConfig, Receipt, StoredWindow, WindowStore
from forgeline_deploy.monitor.labels import LabelFile
from forgeline_deploy.monitor.recorded import FOLDER
from forgeline_deploy.monitor.standing import MOST_WINDOWS, monitored

if TYPE_CHECKING:
    from forgeline.bundle.reference import Reference
    from forgeline.ledger.journal import Journal
    from forgeline_deploy.deployment.pinning import Pinned


class Watching:
    """Watches the versions of one deployment.

    Args:
        config: the policy of the deployment.
        versions: that are served when it begins.
        journal: of the run.
        folder: of the run.
        id: another one for each start of the process.
        now: unix seconds.
        tell: takes what a person should know, a line each.
    """

    def __init__(
        self,
        config: MonitorConfig,
        *,
        versions: Iterable[Pinned],
        journal: Journal,
        folder: Path,
        id: str,
        now: float,
        tell: Callable[[str], None],
    ) -> None:
        self._policy = config
        self._known: set[str] = set()
        references = {pinned.version: reference_of(pinned) for pinned in versions}
        self._monitor = Monitor(
            config,
            references={version: found for version, found in references.items() if found is not None},
            store=WindowStore(folder / FOLDER, journal),
            id=id,
            now=now,
            tell=tell,
        )
        for version, found in references.items():
            self._known.add(version)
            if found is None:
                self._monitor.watch(version, None)

    def receive(self, delivery: Delivery, now: float) -> Receipt:
        """Take what a replica, or the ingress, counted."""
        return self._monitor.receive(delivery, now)

    def tick(self, versions: Iterable[Pinned], now: float) -> None:
        """Watch these versions from now on, too; close, judge and store what is complete.

        Raises:
            Superseded: another process monitors this deployment.
            OSError, LedgerError: a reference cannot be written down.
        """
        for pinned in versions:
            if pinned.version not in self._known:
                self._monitor.watch(pinned.version, reference_of(pinned))
                self._known.add(pinned.version)
        self._monitor.tick(now)
        self._monitor.look_for_labels(now)

    def finish(self, now: float) -> None:
        """Close what is open, though its time has not come: no replica will say more."""
        self._monitor.tick(now, all=True)

    @property
    def store(self) -> WindowStore:
        """Where the windows are."""
        return self._monitor.store

    @property
    def windows(self) -> Sequence[StoredWindow]:
        """Those that are safe."""
        return self._monitor.store.windows

    @property
    def labels(self) -> Sequence[LabelFile]:
        """Files of labels that were taken."""
        return self._monitor.label_files

    @property
    def trouble(self) -> str | None:
        """Why windows cannot be stored now; None where they can."""
        return self._monitor.trouble

    def standing(self) -> dict[str, Any]:
        """As the page shows it."""
        policy: Mapping[str, Any] = self._policy.model_dump(mode="json")
        return monitored(self.windows, self.labels, policy=policy, timeline=MOST_WINDOWS)


def reference_of(pinned: Pinned) -> Reference | None:
    """The statistics in the bundle of a version; None where it has none."""
    from forgeline.bundle import Bundle

    return Bundle.load(Path(pinned.bundle)).reference
