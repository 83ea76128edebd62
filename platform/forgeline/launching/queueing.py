"""The queue of this host, as the ledger has it (which clears away runs whose driver died), and waiting in it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from forgeline.errors import RunCancelled
from forgeline.launching.admission import Claim, may_start, needed_cpus, queue_lock
from forgeline.ledger.states import ACTIVE, State

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord
    from forgeline.settings import Settings

_POLL_S = 0.3


class HostQueue:
    """The runs that share this host's CPUs.

    Args:
        ledger: the authority on runs.
        settings: of this installation.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings

    def is_free(self, cpus: float) -> bool:
        """Whether a run of this size would start at once if it were submitted now."""
        claims = self._claims()
        own = Claim(run_id="", cpus=cpus, priority=0, submitted=time.time(), waiting=True)
        return not any(claim.waiting for claim in claims) and may_start("", [*claims, own], self._capacity)

    def wait_for_turn(self, run_id: str, *, stop: Callable[[], bool], on_wait: Callable[[str], None]) -> None:
        """Return once the run holds its CPUs, its state being `starting`.

        Args:
            run_id: a run in state `queued`.
            stop: whether the run should stop waiting.
            on_wait: told once, in words, what the run waits for.

        Raises:
            RunCancelled: it was asked to stop before its turn came.
        """
        told = False
        while True:
            if stop() or self._ledger.cancel_requested(run_id):
                raise RunCancelled("cancelled while it was queued")
            with queue_lock(self._settings.home_folder):
                claims = self._claims()
                if may_start(run_id, claims, self._capacity):
                    self._ledger.transition(run_id, State.STARTING)
                    return
            if not told:
                told = True
                others = [claim for claim in claims if claim.run_id != run_id]
                held = sum(claim.cpus for claim in others if not claim.waiting)
                on_wait(
                    f"queued: {held:g} of {self._capacity:g} CPUs are held by other runs, "
                    f"{sum(claim.waiting for claim in others)} more are waiting"
                )
            time.sleep(_POLL_S)

    @property
    def _capacity(self) -> float:
        return self._settings.available_cpus

    def _claims(self) -> list[Claim]:
        host = socket.gethostname()
        active = self._ledger.list_runs(state=ACTIVE)
        return [_claim(record) for record in active if record.driver_host == host and record.cluster is None]


def _claim(record: RunRecord) -> Claim:
    from forgeline.spec.loading import load

    return Claim(
        run_id=record.id,
        cpus=needed_cpus(load(record.spec).spec.resources),
        priority=record.priority,
        submitted=record.submitted.timestamp(),
        waiting=record.state is State.QUEUED,
    )
