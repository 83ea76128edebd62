"""What the ledger hands out: frozen records, detached from the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from forgeline.ledger.states import FINAL, Reason, State

DRIVER = ("driver_host", "driver_pid", "driver_started_s", "driver_machine", "submission_id")
"""Columns of a run that say which process drives it."""

OUTSIDE = "outside Forgeline"
"""Who moved an alias in MLflow itself, as far as is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run, over all its attempts.

    Attributes:
        id: its MLflow run id.
        spec: the resolved specification as YAML.
        reason: why it ended as it did; None while it goes on, and for success.
        message: the same in words.
        cluster: address of the cluster it was sent to; None for local Ray.
        submission_id: the Ray job that its driver is on that cluster.
        parent: the run that it is a part of, such as the sweep of a trial.
        gpus: the GPUs that were given to it on its host, as in CUDA_VISIBLE_DEVICES; None before its turn came.
        driver_host: host of the process that owns it.
        driver_pid: id of that process.
        driver_started_s: seconds from the host's boot to the start of that process.
        driver_machine: boot and process namespace that this id belongs to.
        lease_count: how often the driver renewed its lease.
        lease_renewed: when it last did, in seconds since 1970 by the database's clock.
        created: when it was first submitted.
        submitted: when it last entered the queue.
        started: when its first attempt began.
        ended: when it reached its final state.
        attempts: how many there were.
        metrics: its summary metrics.
        result: what its kind returned.
    """

    id: str
    name: str
    kind: str
    spec: str
    state: State
    reason: Reason | None
    message: str | None
    priority: int
    labels: Mapping[str, str]
    cluster: str | None
    submission_id: str | None
    parent: str | None
    gpus: Sequence[str] | None
    driver_host: str | None
    driver_pid: int | None
    driver_started_s: float | None
    driver_machine: str | None
    lease_count: int | None
    lease_renewed: float | None
    created: datetime
    submitted: datetime
    started: datetime | None
    ended: datetime | None
    cancel_requested: datetime | None
    attempts: int
    metrics: Mapping[str, float]
    result: Mapping[str, Any]

    @property
    def driver(self) -> tuple[Any, ...]:
        """What tells its driver from any other, by the columns of `DRIVER`."""
        return tuple(getattr(self, name) for name in DRIVER)

    @property
    def is_final(self) -> bool:
        """Whether its state stays."""
        return self.state in FINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One (re)start of a run.

    Attributes:
        number: counted from 1.
        cause: why it was started: `first`, `resume`, or the reason that ended the one before.
        outcome: the final state of the attempt; None while it goes on.
        reason: why it ended as it did.
        first_step: optimizer step that it began at.
        last_step: last optimizer step that it is known to have taken.
        workers: worker processes that it had.
        gpus: GPUs that it had, over all workers.
        lost_s: seconds of it that a later attempt did again; None where none did.
        chosen: what was chosen for it where the specification leaves it open, by name; None where nothing was.
    """

    run_id: str
    number: int
    cause: str
    started: datetime
    ended: datetime | None
    outcome: State | None
    reason: Reason | None
    message: str | None
    first_step: int | None
    last_step: int | None
    workers: int | None
    gpus: float | None
    lost_s: float | None
    chosen: Mapping[str, Any] | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from its start to its end, or to now."""
        return ((self.ended or datetime.now(UTC)) - self.started).total_seconds()


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasMove:
    """One change of an alias of a registered model.

    Attributes:
        from_version: where it pointed before; None when it was new.
        to_version: where it points since; None when it was taken away.
        who: `user@host`; for one that was made in MLflow and found later, `OUTSIDE`.
        why: in words.
        rollback: whether it went back to where the alias was before; a version may also be chosen anew by hand.
        model_created: when the registered model was made in its MLflow store, in milliseconds since 1970, which tells
            it from one of the same name in another store; 0 of moves from before this was written down.
        number: its place in the model's history, counted from 1; None while it is not in it.
        hash: sha256 over all this and the hash of the move before, see `alias_chain`; None while it is not in it.
    """

    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    who: str
    moved: datetime
    why: str
    rollback: bool = False
    model_created: int = 0
    number: int | None = None
    hash: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalEvent:
    """One step of moving an alias that takes more than one person.

    Attributes:
        event: `protected` (how many persons it takes from now on), `proposed` or `approved`.
        version: that is proposed; None where the protection itself is to change.
        since_version: where the alias pointed when it was proposed.
        since_move: number of the alias's last move then; 0 before the first.
        proposal: number of the event that is approved.
        approvals: persons that it takes, of `protected` and of a proposal to change that.
        who: `user@host`.
        expires: when a proposal can be approved no more.
        number: its place among the model's events, counted from 1; None while it is not written.
        hash: sha256 over all this and the hash of the event before; None while it is not written.
    """

    model: str
    event: str
    alias: str
    version: int | None
    since_version: int | None
    since_move: int | None
    proposal: int | None
    approvals: int | None
    who: str
    moved: datetime
    why: str
    expires: datetime | None
    number: int | None = None
    hash: str | None = None
