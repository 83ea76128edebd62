"""The monitor of a deployment: takes the replicas' deliveries, judges windows that are complete, and stores them.

A window is judged, then stored with the decision on it and the state after it, and acted on only when it is safe. What
cannot be stored, because the disk is full or the database is away, is kept in memory in order, and tried again. A
window that no file can hold is not judged: it is lost, and that is told in the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from forgeline.errors import LedgerError, UsageError
from forgeline.ledger.journal import Superseded
from forgeline_deploy.monitor.collector import Collector
from forgeline_deploy.monitor.decision import Decision
from forgeline_deploy.monitor.judging import Judge
from forgeline_deploy.monitor.labels import LabelDesk, LabelFile
from forgeline_deploy.monitor.learnt import LearntHours
from forgeline_deploy.monitor.pane import Delivery, PaneKey, Receipt
from forgeline_deploy.monitor.policy import ReferenceBook
from forgeline_deploy.monitor.spec import MonitorConfig
from forgeline_deploy.monitor.store import StoredWindow, WindowStore
from forgeline_deploy.monitor.window import Window
from forgeline_deploy.monitor.window_file import WindowCorrupted, check_storable

if TYPE_CHECKING:
    from forgeline.bundle.reference import Reference

Tell = Callable[[str], None]


class Monitor:
    """Watches one deployment. One thread at a time.

    Args:
        config: the policy.
        references: by version of the model.
        store: of the deployment's run.
        id: another one for each start of the process that monitors.
        now: when it starts, unix seconds.
        tell: takes what a person should know, a line each.

    Raises:
        UsageError: a tolerance names a feature that no reference has.
        OSError, LedgerError: what it goes by cannot be written down.
    """

    def __init__(
        self,
        config: MonitorConfig,
        *,
        references: Mapping[str, Reference],
        store: WindowStore,
        id: str,
        now: float,
        tell: Tell,
    ) -> None:
        self.config, self.store = config, store
        self._tell = tell
        self._book = ReferenceBook(store)
        self._references = dict(references)
        self.collector = Collector(
            id=id,
            window_s=config.window_s,
            lateness_s=config.lateness.total_seconds(),
            silent_after_s=config.silent.total_seconds(),
            started=now,
            sample_payloads=config.sample_payloads,
        )
        self._labels: LabelDesk | None = None
        if config.labels is not None:
            # Answers of just before the file was written are in a stored window by then.
            waits = config.window_s + config.lateness.total_seconds() + 2 * config.silent.total_seconds()
            self._labels = LabelDesk(config.labels, settled_s=waits, store=store, now=now, tell=tell)
        self._judge = Judge(config, self._references)
        self._learnt = LearntHours(store, tell)
        self._book.write(config, self._references)
        self._unsafe: deque[tuple[Window, Decision, dict[str, Any]]] = deque()
        self._lost: list[str] = []
        self._looked = float("-inf")
        self.trouble: str | None = None
        self._recover()

    def watch(self, version: str, reference: Reference | None) -> None:
        """Another version is served from now on.

        Args:
            reference: None where its bundle has none: it is counted by requests alone, and that is told.

        Raises:
            OSError, LedgerError: the reference cannot be written down; the version is not watched yet.
        """
        if reference is None:
            self._tell(
                f"version {version} has no reference statistics in its bundle: its requests, errors and latency are "
                "watched, drift is not; train it again to have them"
            )
            return
        if version not in self._references:
            self._book.write(self.config, {version: reference})
            self._references[version] = reference
            self._judge.watch(version, reference)

    def receive(self, delivery: Delivery, now: float) -> Receipt:
        """Take what a replica counted."""
        return self.collector.receive(delivery, now)

    def tick(self, now: float, *, all: bool = False) -> list[StoredWindow]:
        """Close, judge and store what is complete.

        Args:
            now: unix seconds.
            all: also what is not: the deployment ends, and no replica will say more.

        Returns:
            Windows that are safe since the last tick, in order: only these may be acted on.

        Raises:
            Superseded: another process monitors this deployment; this one must stop.
        """
        for window in filter(self._is_storable, self.collector.close(now, all=all)):
            window = replace(window, remarks=(*window.remarks, *self._lost))
            self._lost.clear()
            decision = self._judge.step(window)
            self._unsafe.append((window, decision, self._judge.state()))
        safe = []
        while self._unsafe:
            try:
                safe.append(self.store.append(*self._unsafe[0]))
            except Superseded:
                raise
            except (OSError, LedgerError) as error:
                self._has_trouble(error)
                return safe
            window, _, _ = self._unsafe.popleft()
            self.collector.stored(window.key)
        self._sum_up()
        if self.trouble is not None:
            self._tell("windows can be stored again; none was lost")
            self.trouble = None
        return safe

    def look_for_labels(self, now: float) -> list[LabelFile]:
        """Take in labels that have arrived, at most once a window: what they say is judged as one more window.

        Returns:
            The files that were taken, with what is wrong by them; each is safe.

        Raises:
            Superseded: another process monitors this deployment; this one must stop.
        """
        if self._labels is None or self._unsafe or now < self._looked + self.config.window_s:
            return []
        self._looked = now
        try:
            return self._labels.look(self._judge, now)
        except Superseded:
            raise
        except (OSError, LedgerError) as error:
            self._tell(f"labels cannot be stored, and are taken later: {error}")
            return []

    @property
    def label_files(self) -> Sequence[LabelFile]:
        """Files of labels that were taken, first to last."""
        return [] if self._labels is None else self._labels.files

    @property
    def unsafe_windows(self) -> int:
        """Windows that are closed and could not be stored yet."""
        return len(self._unsafe)

    @property
    def judge(self) -> Judge:
        """The judge, as it stands after the last window."""
        return self._judge

    def _is_storable(self, window: Window) -> bool:
        """Whether a file can hold a window; one that none can would hold up all that come after it."""
        try:
            check_storable(window)
        except ValueError as error:
            lost = (
                f"the window from {window.key.start:.0f} to {window.end:.0f} (unix seconds) cannot be written: {error}"
            )
            lost = f"{lost}; its {window.requests:,} requests and {window.rows:,} answered rows are lost"
            self._tell(lost)
            self._lost.append(lost)
            self.collector.stored(window.key)
            return False
        return True

    def _sum_up(self) -> None:
        """A sum that cannot be written now is no loss: the windows say the same."""
        try:
            self._learnt.write(self._judge)
        except Superseded:
            raise
        except (OSError, LedgerError) as error:
            self._tell(f"what was learnt of the hours cannot be summed up: {error}; tried again with the next window")

    def _has_trouble(self, error: Exception) -> None:
        kept = f"{len(self._unsafe)} window{'s are' if len(self._unsafe) > 1 else ' is'} kept in memory and tried again"
        if self.trouble is None:
            self._tell(f"a window cannot be stored: {error}; {kept}")
        self.trouble = f"{error}; {kept}"

    def _recover(self) -> None:
        """Take up where an earlier process ended: the windows it stored, and the state after the newest of them."""
        stored = self.store.windows
        self.collector.restore({window.key: window.included for window in stored})
        places = {window.key: window for window in stored}

        def window_at(key: PaneKey) -> Window | None:
            try:
                return self.store.folder.read(places[key])[0]
            except WindowCorrupted as error:
                self._tell(f"window {places[key].number}: {error}; its rows, too few by themselves, are not judged")
                return None

        for newest in reversed(stored):
            try:
                self._judge.restore(self.store.folder.read(newest)[1], window_at)
                break
            except WindowCorrupted as error:
                self._tell(f"window {newest.number}: {error}; the detector goes on from the window before it")
            except UsageError:
                self._tell("the policy or a reference has changed: all stored windows are judged anew by it")
                self._judge_again()
                return
        self._learnt.read(self._judge)

    def _judge_again(self) -> None:
        self._judge = Judge(self.config, self._references)
        for stored in self.store.windows:
            try:
                self._judge.step(self.store.folder.read(stored)[0])
            except WindowCorrupted as error:
                self._tell(f"window {stored.number}: {error}")
