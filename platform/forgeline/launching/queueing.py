"""The queue of this host, as the ledger has it (which clears away runs whose driver died), and waiting in it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from forgeline.errors import LedgerError, RunCancelled, SpecError
from forgeline.launching.admission import (
    Capacity,
    Claim,
    gpu_devices,
    machine_memory,
    may_start,
    needed_cpus,
    needed_gpus,
    needed_memory,
    queue_lock,
)
from forgeline.launching.patience import patiently
from forgeline.ledger.states import ACTIVE, State
from forgeline.spec.envelope import Envelope, Resources
from forgeline.spec.loading import load
from forgeline.spec.source import read_document

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord
    from forgeline.settings import Settings

_POLL_S = 0.3
_PATIENCE_S = 60.0


class HostQueue:
    """The runs that share this host's CPUs, memory and GPUs, as one of them sees it.

    Args:
        ledger: the authority on runs.
        settings: of this installation.
        spec: of the run.
    """

    def __init__(self, ledger: Ledger, settings: Settings, spec: Envelope) -> None:
        self._ledger = ledger
        self._settings = settings
        self._devices = gpu_devices() if spec.resources.gpus_per_worker else []
        self._capacity = Capacity(cpus=settings.available_cpus, gpus=len(self._devices), memory=machine_memory())
        self._resources = self._capacity.fitted(spec.resources, spec.worker_counts)

    @property
    def workers(self) -> int:
        """Workers that the run waits for, and then holds: of a range as many as this host can ever hold."""
        return self._resources.most_workers

    def free_now(self) -> Sequence[str] | None:
        """The GPUs that the run would get (none for one that needs none) if it were submitted now; None if it waited.

        It promises nothing: another run may come first.
        """
        try:
            claims = self._claims()
        except LedgerError:
            # The run is still to wait for its turn, with more patience.
            return None
        if any(claim.waiting for claim in claims):
            return None
        own = _claim("", self._resources, priority=0, submitted=time.time(), waiting=True, devices=())
        return may_start("", [*claims, own], self._capacity, self._devices)

    def is_outranked(self, run_id: str) -> bool:
        """Whether the run whose turn it is has a higher priority than this one, and could start without it.

        Other runs of the same kind that it outranks are taken for leaving as well: each of them asks the same.
        """
        try:
            records = self._records()
        except LedgerError:
            # It will still be waiting when the ledger is back.
            return False
        own = next((record for record in records if record.id == run_id), None)
        waiting = [record for record in records if record.state is State.QUEUED]
        if own is None or not waiting:
            return False
        first = min(waiting, key=lambda record: (-record.priority, record.submitted, record.id))
        if first.priority <= own.priority:
            return False
        left = [
            self._claim_of(record)
            for record in records
            if record.state is State.QUEUED or record.kind != own.kind or record.priority >= first.priority
        ]
        everyone = [self._claim_of(record) for record in records]
        devices = gpu_devices() if any(claim.gpus for claim in everyone) else []
        has_room_anyway = may_start(first.id, everyone, self._capacity, devices) is not None
        return not has_room_anyway and may_start(first.id, left, self._capacity, devices) is not None

    def wait_for_turn(self, run_id: str, *, stop: Callable[[], bool], on_wait: Callable[[str], None]) -> Sequence[str]:
        """Return once the run holds its CPUs, memory and GPUs, its state being `starting`.

        Args:
            run_id: a run in state `queued`.
            stop: whether the run should stop waiting.
            on_wait: told once, in words, what the run waits for.

        Returns:
            Its GPUs.

        Raises:
            RunCancelled: it was asked to stop before its turn came.
            LedgerError: the ledger does not answer for long.
        """
        told = False
        while True:
            if stop() or patiently(lambda: self._ledger.cancel_requested(run_id), within_s=_PATIENCE_S, unless=stop):
                raise RunCancelled("cancelled while it was queued")
            claims, gpus = patiently(lambda: self._try(run_id), within_s=_PATIENCE_S, unless=stop)
            if gpus is not None:
                return gpus
            if not told:
                told = True
                on_wait(self._in_words([claim for claim in claims if claim.run_id != run_id]))
            time.sleep(_POLL_S)

    def _try(self, run_id: str) -> tuple[list[Claim], Sequence[str] | None]:
        with queue_lock(self._settings.home_folder):
            claims = self._claims()
            gpus = may_start(run_id, claims, self._capacity, self._devices)
            if gpus is not None:
                self._ledger.transition(run_id, State.STARTING, gpus=gpus)
        return claims, gpus

    def _in_words(self, others: Sequence[Claim]) -> str:
        holding = [claim for claim in others if not claim.waiting]
        held = f"{sum(claim.cpus for claim in holding):g} of {self._capacity.cpus:g} CPUs"
        if self._devices:
            taken = {device for claim in holding for device in claim.devices}
            held += f" and {len(taken.intersection(self._devices))} of {len(self._devices)} GPUs"
        return f"queued: {held} are held by other runs, {len(others) - len(holding)} more are waiting"

    def _claims(self) -> list[Claim]:
        return [self._claim_of(record) for record in self._records()]

    def _records(self) -> list[RunRecord]:
        """All that hold or wait for something here; a part of another run is in that one's place."""
        host = socket.gethostname()
        active = self._ledger.list_runs(state=ACTIVE, elsewhere=False)
        return [record for record in active if record.driver_host == host and record.cluster is None]

    def _claim_of(self, record: RunRecord) -> Claim:
        """What a run holds or waits for; one with a range of workers has as many as this host can hold."""
        resources, counts = _asked(record.spec)
        if resources.is_elastic:
            gpus = len(gpu_devices()) if resources.gpus_per_worker else 0
            resources = replace(self._capacity, gpus=gpus).fitted(resources, counts)
        return _claim(
            record.id,
            resources,
            priority=record.priority,
            submitted=record.submitted.timestamp(),
            waiting=record.state is State.QUEUED,
            devices=record.gpus or (),
        )


def _claim(
    run_id: str, resources: Resources, *, priority: int, submitted: float, waiting: bool, devices: Sequence[str]
) -> Claim:
    return Claim(
        run_id=run_id,
        cpus=needed_cpus(resources),
        gpus=needed_gpus(resources),
        memory=needed_memory(resources),
        devices=devices,
        priority=priority,
        submitted=submitted,
        waiting=waiting,
    )


@lru_cache(maxsize=256)
def _asked(spec: str) -> tuple[Resources, Sequence[int]]:
    """What a run asked for, and how many workers it can have.

    Of most specifications nothing else is looked at: they may be of a kind that is gone, or in another version's words.
    """
    try:
        resources = Resources.model_validate(read_document(spec).data.get("resources") or {})
    except (SpecError, ValueError):
        # A run that is there holds something.
        resources = Resources()
    if not resources.is_elastic:
        return resources, resources.worker_counts
    try:
        return resources, load(spec, stored=True).spec.worker_counts
    except (SpecError, ValueError):
        return resources, resources.worker_counts
