"""What a deployment comes through under load: its processes are killed, its stores taken away, one after the other.

    make acceptance ONLY=deployment-faults      # takes root, to mount a small disk, and PostgreSQL's programs

A model of 569 tumours is served, watched and trained again when its labels say that it errs. Clients go on asking while
a replica, the ingress and the controller are killed, and while MLflow's server, the ledger's PostgreSQL and room on the
disk are missing; the training is wanted while MLflow is away, and goes on while the database is. Afterwards every
answer is held against the model's own, every answered request against the stored windows, and every window that was
seen in the ledger against what is there at the end.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks import mlflow_server, postgresql, small_disk
from benchmarks.faulted_deployment import FaultedDeployment, deployed
from benchmarks.steady_clients import SteadyClients
from forgeline.errors import ForgelineError
from forgeline_deploy.monitor.store import StoredWindow, WindowFolder, stored_windows

Say = Callable[[str], None]

CLIENTS = 3
AWAY_S, HANGS_S = 15.0, 60.0
"""How long a store is away, and how long MLflow's server takes requests without answering."""
DISK_MIB = 256
LOST_S = 2.0
"""What a replica answered so long before it was killed may be counted nowhere: it reports once a second."""
_SETTLES_WITHIN_S = 180.0


@dataclass
class Seen:
    """What somebody who looks at the ledger all the time has seen acknowledged."""

    deployment: FaultedDeployment
    windows: dict[int, StoredWindow] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look twice a second for as long as this lasts."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            with contextlib.suppress(ForgelineError):  # the database is away
                for stored in stored_windows(self.deployment.entries()):
                    self.windows.setdefault(stored.number, stored)


@dataclass
class Faults:
    """The faults, one after the other.

    Attributes:
        kills: when a replica was killed, unix seconds.
        told: what `/monitor.json` said while the disk was full.
        began: when each fault began, unix seconds, in their order.
    """

    deployment: FaultedDeployment
    clients: SteadyClients
    database: postgresql.PostgreSQL
    tracker: mlflow_server.MlflowServer
    disk: small_disk.SmallDisk
    seen: Seen
    say: Say
    kills: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict)

    def replica_killed(self) -> None:
        self.kills.append(time.time())
        self.deployment.kill("ServeReplica:")

    def ingress_killed(self) -> None:
        self.deployment.kill("Ingress")

    def controller_killed(self) -> None:
        self.deployment.kill("Controller")

    def tracker_away(self) -> None:
        """While it is, labels turn out wrong, and a training is wanted."""
        self.tracker.stop()
        self.clients.mislead = True
        _until(lambda: self.deployment.retrainings() > 0, "a retraining is wanted")
        time.sleep(AWAY_S)
        self.tracker.start()
        _until(lambda: self.deployment.trainings() > 1, "the retraining begins")

    def tracker_hangs(self) -> None:
        self.tracker.hang()
        time.sleep(HANGS_S)
        self.tracker.go_on()

    def database_away(self) -> None:
        """And the controller is killed meanwhile: what it had not stored is nowhere but in the replicas."""
        self.database.stop()
        time.sleep(AWAY_S)
        self.deployment.kill("Controller")
        time.sleep(AWAY_S)
        self.database.start()

    def disk_full(self) -> None:
        _until(lambda: self.deployment.outcomes()[:1] not in ([], [None]), "the retraining ends")
        self.disk.fill()
        time.sleep(AWAY_S)
        self.told = httpx.get(f"{self.clients.url}/monitor.json", timeout=30).json()["notes"]
        self.disk.free()

    def one_after_the_other(self) -> dict[str, Any]:
        """What the clients had of each: how many were answered and refused, and the longest time without an answer."""
        faults = {
            "SIGKILL of a replica": self.replica_killed,
            "SIGKILL of the ingress": self.ingress_killed,
            "SIGKILL of the controller": self.controller_killed,
            "MLflow's server away": self.tracker_away,
            "MLflow's server hangs": self.tracker_hangs,
            "the database away, and SIGKILL of the controller": self.database_away,
            "the disk full": self.disk_full,
        }
        return {name: self._figures(name, fault) for name, fault in faults.items()}

    def at(self, moment: float) -> str:
        """The fault that had begun last at a moment."""
        return next((name for name, began in reversed(self.began.items()) if began <= moment), "none yet")

    def _figures(self, name: str, fault: Callable[[], None]) -> dict[str, Any]:
        clients, began = self.clients, time.time()
        self.began[name] = began
        before, refused, stored = len(clients.answered), clients.refused.total(), len(self.seen.windows)
        fault()
        after, over = len(clients.answered), time.time()
        stored = len(self.seen.windows) - stored
        _until(lambda: len(clients.answered) > after + 50, f"answers after {name}")
        # A window that began after the fault is stored: whatever was kept back is, too.
        _until(lambda: any(one.key.start > over for one in self._stored()), f"windows after {name}")
        told = {
            "answered": len(clients.answered) - before,
            "refused": clients.refused.total() - refused,
            "longest_without_answer_s": round(clients.longest_silence_s(began), 1),
            "seconds": round(over - began, 1),
            "windows_stored_meanwhile": stored,
            "until_windows_are_stored_again_s": round(time.time() - over, 1),
        }
        self.say(f"{name}: {told}")
        return told

    def _stored(self) -> list[StoredWindow]:
        try:
            return stored_windows(self.deployment.entries())
        except ForgelineError:
            return []


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The group `deployment-faults`."""
    return {"breast-cancer, all faults in turn": partial(measured, say)}


def measured(say: Say) -> dict[str, Any]:
    """Go through all of it once."""
    # Short: the path of PostgreSQL's socket has little room.
    with tempfile.TemporaryDirectory(prefix="fl") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        disk = stack.enter_context(small_disk.mounted(folder / "home", DISK_MIB))
        database = stack.enter_context(postgresql.running(folder))
        database.create("ledger")
        tracker = stack.enter_context(mlflow_server.served(f"sqlite:///{folder / 'mlflow.db'}", folder))
        deployment = stack.enter_context(
            deployed(folder, tracking=tracker.address, ledger=database.url("ledger"), home=disk.folder)
        )
        say("the deployment is up")
        clients = SteadyClients(deployment.url, deployment.rows, deployment.truth, deployment.labels)
        seen = Seen(deployment)
        faults = Faults(deployment, clients, database, tracker, disk, seen, say)
        began = time.monotonic()
        with seen.looking(), clients.asking(CLIENTS):
            _until(lambda: len(seen.windows) >= 3, "the first windows")
            figures = faults.one_after_the_other()
        ended = deployment.stop(signal.SIGINT)
        return _row(faults, seen, ended, figures) | {"seconds": round(time.monotonic() - began, 1)}


def _row(faults: Faults, seen: Seen, ended: int, figures: Mapping[str, Any]) -> dict[str, Any]:
    deployment, clients = faults.deployment, faults.clients
    account = _account(faults)
    gone = [number for number, stored in seen.windows.items() if not _kept(deployment, stored)]
    wrong = clients.wrong(
        {version: deployment.own(version) for version in {a.version for a in clients.answered.values()}}
    )
    outcomes = deployment.outcomes()
    row = {
        "bar": "no wrong answer, no stored window lost, each answer in one window or told as lost; one retraining",
        "answered": len(clients.answered),
        "wrong": len(wrong),
        "refused": dict(clients.refused),
        "sent_again": len(clients.sent_again),
        "windows_acknowledged": len(seen.windows),
        "windows_lost": len(gone),
        **account,
        "trouble_told": faults.told,
        "retrainings": outcomes,
        "trainings_begun": deployment.trainings() - 1,
        "exit_code": ended,
        "faults": figures,
    }
    row["met"] = (
        not wrong
        and not gone
        and account["neither_stored_nor_told"] == account["stored_twice"] == 0
        and bool(faults.told)
        and len(outcomes) == row["trainings_begun"] == 1
        and ended == 103
    )
    return row


def _kept(deployment: FaultedDeployment, stored: StoredWindow) -> bool:
    """Whether a window is in the ledger as it was seen there, and its files are as they were."""
    if stored not in stored_windows(deployment.entries()):
        return False
    folder = WindowFolder(deployment.windows)
    try:
        window, _ = folder.read(stored)
        return len(list(folder.answers(stored))) == window.rows == stored.rows
    except ForgelineError:
        return False


def _account(faults: Faults) -> dict[str, Any]:
    """Each answered request is in one stored window; or a window says that what its replica counted last is lost."""
    folder, stored = WindowFolder(faults.deployment.windows), stored_windows(faults.deployment.entries())
    counted: Counter[str] = Counter()
    late: Counter[str] = Counter()
    for one in stored:
        names = [answer.request for stream, answer in folder.answers(one) if stream.role in ("champion", "challenger")]
        counted.update(names)
        if one.key.generation:
            late[faults.at(one.key.start)] += len(names)
    silent = [(one.key.start, one.end) for one in stored if any("has said nothing" in text for text in one.remarks)]
    missing = [one for name, one in faults.clients.answered.items() if not counted[name]]
    told = [
        one
        for one in missing
        if any(start <= one.at < end + LOST_S for start, end in silent)
        and any(kill - LOST_S <= one.at <= kill + LOST_S for kill in faults.kills)
    ]
    # A request that was cut and sent again may have been answered, and counted, before it was cut.
    twice = [name for name, count in counted.items() if count > 1 and name not in faults.clients.sent_again]
    return {
        "stored_in_time": len(faults.clients.answered) - len(missing) - late.total(),
        "stored_late": dict(late),
        "told_as_lost": len(told),
        "neither_stored_nor_told": len(missing) - len(told),
        "stored_twice": len(twice),
    }


def _until(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _SETTLES_WITHIN_S
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(f"waited too long: {what}")
        time.sleep(0.5)
