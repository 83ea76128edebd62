"""A monitor that is killed at each point that could matter: what it acknowledged stays, and all comes out alike."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from forgeline.bundle.reference import Reference
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.monitor import Delivery, Monitor, Receipt, StoredWindow, WindowStore
from forgeline_deploy.monitor.store import WindowFolder, stored_windows
from tests.deploy.monitor.test_monitor import CONFIG
from tests.deploy.monitor.traffic import batch, recorder

_FORK = multiprocessing.get_context("fork")
WINDOWS = 5


class DyingStore(WindowStore):
    """Kills its process at a point of the storing of a window."""

    die_at: tuple[int, str] | None = None

    def append(self, *given: Any) -> StoredWindow:
        number = len(self.windows)
        self._die(number, "judged")
        append = self.journal.append

        def journalled(*entries: Mapping[str, Any]) -> None:
            self._die(number, "written")
            append(*entries)
            self._die(number, "journalled")

        self.journal.append = journalled  # type: ignore[method-assign]
        try:
            stored = super().append(*given)
        finally:
            self.journal.append = append  # type: ignore[method-assign]
        self._die(number, "stored")
        return stored

    def _die(self, number: int, point: str) -> None:
        if self.die_at == (number, point):
            os.kill(os.getpid(), signal.SIGKILL)


def monitor(pipe: Connection, home: Path, reference: Reference, life: int, now: float, die_at: Any) -> None:
    """The monitoring process: answers deliveries and ticks until its pipe is closed."""
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    store = DyingStore(home / "windows", Journal(ledger, ledger.get("deployment1")))
    store.die_at = die_at
    watching = Monitor(CONFIG, references={"1": reference}, store=store, id=f"c{life}", now=now, tell=print)
    while True:
        what, given, now = pipe.recv()
        pipe.send(watching.receive(given, now) if what == "delivery" else len(watching.tick(now)))


class Home:
    """The process that monitors, begun again whenever it is found dead."""

    def __init__(self, home: Path, reference: Reference, die_at: Any = None) -> None:
        self.home, self.reference, self.die_at = home, reference, die_at
        self.lives = 0
        self.begin(0.0)

    def begin(self, now: float) -> None:
        self.lives += 1
        self.pipe, theirs = _FORK.Pipe()
        given = (theirs, self.home, self.reference, self.lives, now, self.die_at if self.lives == 1 else None)
        self.process = _FORK.Process(target=monitor, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, what: str, given: Any, now: float) -> Any:
        try:
            self.pipe.send((what, given, now))
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            assert self.process.exitcode == -signal.SIGKILL
            self.begin(now)
            return None

    def kill(self, now: float) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.begin(now)

    def end(self) -> None:
        self.process.terminate()
        self.process.join()


def run(home: Path, reference: Reference, *, die_at: Any = None, kill_at: float | None = None) -> dict[str, Any]:
    """Five windows of two replicas, the fourth with drift, and what is on the disk and in the ledger in the end."""
    home.mkdir()
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(id="deployment1", name="digits", kind="deployment", spec="")
    killed = Home(home, reference, die_at)
    replicas = [recorder(name, reference) for name in "ab"]
    moments = [float(second) for second in range(10 * WINDOWS + 20)]
    for now in moments:
        if now == kill_at:
            killed.kill(now)
        for number, replica in enumerate(replicas):
            if now % 2 == 1 and now < 10 * WINDOWS:
                shift = 0.8 if 30 <= now < 40 else 0.0
                replica.record(batch(30, now, seed=int(now) * 2 + number, shift=shift, name="ab"[number]))
            send = sender(killed, now)
            replica.exchange(send)
        killed.ask("tick", None, now)
    killed.end()
    found = outcome(ledger, home) | {"lives": killed.lives}
    ledger.close()
    return found


def sender(home: Home, now: float) -> Callable[[Delivery], Receipt]:
    def send(delivery: Delivery) -> Receipt:
        receipt = home.ask("delivery", delivery, now) or home.ask("delivery", delivery, now)
        assert isinstance(receipt, Receipt)
        return receipt

    return send


def outcome(ledger: Ledger, home: Path) -> dict[str, Any]:
    folder, stored = WindowFolder(home / "windows"), stored_windows(ledger.journal("deployment1"))
    windows = [folder.read(one) for one in stored]
    return {
        "keys": [one.key for one in stored],
        "counts": [{stream: part.tally for stream, part in window.parts.items()} for window, _ in windows],
        "decisions": [one.decision for one in stored],
        "states": [state for _, state in windows],
        "answers": [Counter(answer for _, answer in folder.answers(one)) for one in stored],
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("undisturbed") / "home", reference)


def test_without_a_kill_five_windows_are_judged_and_the_drift_is_found(undisturbed: dict[str, Any]) -> None:
    assert [key.start for key in undisturbed["keys"]] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert [decision.severity for decision in undisturbed["decisions"]] == [None, None, None, "ticket", None]
    assert [sum(found.values()) for found in undisturbed["answers"]] == [300] * 5 and undisturbed["lives"] == 1


@pytest.mark.parametrize(("number", "point"), [(0, "judged"), (3, "written"), (0, "journalled"), (3, "stored")])
def test_killed_while_it_stores_a_window(
    tmp_path: Path, reference: Reference, undisturbed: dict[str, Any], number: int, point: str
) -> None:
    found = run(tmp_path / "home", reference, die_at=(number, point))
    assert found.pop("lives") == 2
    assert found == {name: value for name, value in undisturbed.items() if name != "lives"}


@pytest.mark.parametrize("moment", [33.0])
def test_killed_in_the_middle_of_a_window(
    tmp_path: Path, reference: Reference, undisturbed: dict[str, Any], moment: float
) -> None:
    found = run(tmp_path / "home", reference, kill_at=moment)
    assert found.pop("lives") == 2
    assert found == {name: value for name, value in undisturbed.items() if name != "lives"}
