"""Why an attempt ended badly, from evidence alone: what ranks wrote, what was seen of their processes, what Ray says.

In this order, the first that is there: a hang that the watch ended; what a rank raised by its own fault; memory; a
notice; a crash; a node that is gone; a process that was killed; anything else. A rank that only lost contact with
another is a symptom, never the cause. What a rank raised stands before any notice: an exception is no preemption.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgeline.ledger.states import Reason
from forgeline_jobs.train import evidence, heartbeat, nodes, notices
from forgeline_jobs.train.evidence import Evidence
from forgeline_jobs.train.heartbeat import Beat
from forgeline_jobs.train.notices import NOTICE
from forgeline_jobs.train.watch import HANG, Death

# Exceptions of a worker that say more than "the user's code raised": torch's of a device, and Python's.
_DEVICE_OUT_OF_MEMORY = ("OutOfMemoryError",)
_OUT_OF_MEMORY = ("MemoryError",)
# torch's allocator, the CUDA runtime and cuBLAS, wherever they are wrapped in an exception of another type.
_DEVICE_OUT_OF_MEMORY_MARKS = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
# torch on CPU, the C++ library and the C library, none of which has a type of its own.
_OUT_OF_MEMORY_MARKS = ("can't allocate memory", "Cannot allocate memory", "std::bad_alloc")
_NON_FINITE = ("NonFiniteLoss",)
_NOT_WRITTEN = ("CheckpointFailed",)
# What a collective raises when a peer is gone (torch.distributed with NCCL, and with gloo).
_LOST_CONTACT = ("DistBackendError", "DistNetworkError")
_LOST_CONTACT_MARKS = ("gloo/transport",)
_LEAVING = ("SystemExit", "KeyboardInterrupt")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended badly.

    Attributes:
        rank: of the worker that was first to fail; None where it is not known.
        of_device: it is the memory of an accelerator that ran out, not that of its host.
    """

    reason: Reason
    message: str
    rank: int | None = None
    of_device: bool = False


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where an attempt ended.

    Attributes:
        folder: of the attempt.
        deaths: worker processes that were seen gone, by rank.
        ask_oom_kills: asks the node of a worker how many processes its kernel has killed for memory; raises NodeGone.
        is_node_alive: whether one of Ray's nodes, given by its id, is still there.
    """

    folder: Path
    deaths: Mapping[int, Death] = field(default_factory=dict)
    ask_oom_kills: Callable[[Beat], int | None] = lambda beat: nodes.on_node(beat.who, heartbeat.oom_kills)
    is_node_alive: Callable[[str], bool] = nodes.answers


def find(error: Exception | None, scene: Scene) -> Failure | None:
    """The cause of an attempt's end.

    Args:
        error: what Ray Train raised; None when the workers ended by themselves.

    Returns:
        None when nothing is wrong: the workers were done, or stopped as they were asked to.
    """
    notice = _notice(scene.folder)
    if error is None:
        return None if notice is None else _preempted(notice, "; a last checkpoint was written")
    leaving = notices.told(scene.folder)
    found = _hang(scene.folder) or _own_fault(scene.folder, leaving)
    if found is not None:
        return found
    chain = _chain(error)
    # Who died first; the others are ended by Ray, with SIGTERM, which is no notice.
    first = _dead_ranks(chain) or list(scene.deaths)[:1]
    if first and not leaving.intersection(first):
        notice = None
    return _no_room(chain) or _memory(chain, scene) or _announced(chain, notice) or _died(error, chain, scene)


def _no_room(chain: list[BaseException]) -> Failure | None:
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    if any(isinstance(failure, WorkerGroupStartupTimeoutError) for failure in chain):
        message = "there was no room any more for the workers before they started"
        return Failure(reason=Reason.NODE_LOST, message=message)
    return None


def _hang(folder: Path) -> Failure | None:
    try:
        verdict = json.loads((folder / HANG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ranks = [one["rank"] for one in verdict["ranks"] if one["hangs"]]
    return Failure(reason=Reason.HANG, message=verdict["message"], rank=ranks[0] if ranks else None)


def _own_fault(folder: Path, leaving: set[int]) -> Failure | None:
    found = [one for one in evidence.failures(folder) if not _lost_contact(one)]
    own = [one for one in found if not (one.rank in leaving and one.type in _LEAVING)]
    return _own_cause(own[0]) if own else None


def _lost_contact(one: Evidence) -> bool:
    return one.type in _LOST_CONTACT or _has_any(_LOST_CONTACT_MARKS, one.message)


def _own_cause(one: Evidence) -> Failure:
    if one.type in _NON_FINITE:
        return Failure(reason=Reason.NON_FINITE_LOSS, message=one.message, rank=one.rank)
    if one.type in _NOT_WRITTEN:
        return Failure(reason=Reason.PLATFORM_ERROR, message=one.message, rank=one.rank)
    device = one.type in _DEVICE_OUT_OF_MEMORY or _has_any(_DEVICE_OUT_OF_MEMORY_MARKS, one.message)
    memory = device or one.type in _OUT_OF_MEMORY or _has_any(_OUT_OF_MEMORY_MARKS, one.message)
    reason = Reason.OUT_OF_MEMORY if memory else Reason.USER_ERROR
    message = f"{one.type} on rank {one.rank}: {one.message}"
    return Failure(reason=reason, message=message, rank=one.rank, of_device=device)


def _has_any(marks: tuple[str, ...], message: str) -> bool:
    return any(mark in message for mark in marks)


def _memory(chain: list[BaseException], scene: Scene) -> Failure | None:
    """A worker that was killed for memory: by Ray, which says so, or by the kernel, which counts it."""
    from ray.exceptions import OutOfMemoryError

    if any(isinstance(failure, OutOfMemoryError) for failure in chain):
        return Failure(reason=Reason.OUT_OF_MEMORY, message="a worker was killed because its node ran out of memory")
    beats = heartbeat.read_all(scene.folder)
    for rank, death in scene.deaths.items():
        before = beats[rank].who.oom_kills if rank in beats else None
        if before is not None and death.oom_kills is not None and death.oom_kills > before:
            return _killed_for_memory(beats[rank])
    for rank in _dead_ranks(chain):
        beat = beats.get(rank)
        if beat is None or rank in scene.deaths or beat.who.oom_kills is None:
            continue
        try:
            after = scene.ask_oom_kills(beat)
        except nodes.NodeGone:
            continue
        if after is not None and after > beat.who.oom_kills:
            return _killed_for_memory(beat)
    return None


def _killed_for_memory(beat: Beat) -> Failure:
    who = beat.who
    message = f"rank {who.rank} on {who.host} (process {who.pid}) was killed by the kernel for memory"
    return Failure(reason=Reason.OUT_OF_MEMORY, message=message, rank=who.rank)


def _notice(folder: Path) -> Mapping[str, Any] | None:
    try:
        notice: Mapping[str, Any] = json.loads((folder / NOTICE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return notice


def _announced(chain: list[BaseException], notice: Mapping[str, Any] | None) -> Failure | None:
    """A worker that was taken away after a notice, ours or Ray's."""
    if notice is not None:
        return _preempted(notice, " and ended before a last checkpoint was written")
    from ray.train import PreemptionError

    for failure in chain:
        if isinstance(failure, PreemptionError) or getattr(failure, "preempted", False) is True:
            return Failure(reason=Reason.PREEMPTED, message=f"a node was taken away: {_first_line(failure)}")
    return None


def _preempted(notice: Mapping[str, Any], then: str) -> Failure:
    rank = int(notice["rank"])
    return Failure(reason=Reason.PREEMPTED, message=f"rank {rank} was told to leave: {notice['why']}{then}", rank=rank)


def _died(error: Exception, chain: list[BaseException], scene: Scene) -> Failure:
    """A process that left no word, and why it may have: a crash, a node that is gone, a kill."""
    from ray.exceptions import RayActorError, WorkerCrashedError

    beats = heartbeat.read_all(scene.folder)
    dead = list(dict.fromkeys([*scene.deaths, *_dead_ranks(chain)]))
    for rank in dead or sorted(beats):
        crash = evidence.crash(scene.folder / f"rank{rank}.log")
        if crash is not None:
            message = f"the process of rank {rank} crashed: {crash}; its stack is in rank{rank}.log"
            return Failure(reason=Reason.USER_ERROR, message=message, rank=rank)
    suspected = {rank: beats[rank].who.node for rank in dead or sorted(beats) if rank in beats}
    alive = {node: scene.is_node_alive(node) for node in set(suspected.values()) if node}
    lost = [rank for rank, node in suspected.items() if not alive.get(node, True)]
    if lost:
        host, ranks = beats[lost[0]].who.host, ", ".join(map(str, lost))
        message = f"node {host} is gone, and rank {ranks} with it"
        return Failure(reason=Reason.NODE_LOST, message=message, rank=lost[0])
    if dead and dead[0] in beats:
        who = beats[dead[0]].who
        message = f"rank {who.rank} on {who.host} (process {who.pid}) was killed; its node lives"
        return Failure(reason=Reason.NODE_LOST, message=message, rank=who.rank)
    symptoms = evidence.failures(scene.folder)
    if symptoms:
        message = f"a worker process died; rank {symptoms[0].rank} lost contact with it"
        return Failure(reason=Reason.NODE_LOST, message=message)
    for failure in chain:
        if isinstance(failure, RayActorError | WorkerCrashedError):
            message = f"a worker process died without a word: {_first_line(failure)}"
            return Failure(reason=Reason.NODE_LOST, message=message)
    return Failure(reason=Reason.PLATFORM_ERROR, message=f"{type(error).__name__}: {_first_line(error)}")


def _dead_ranks(chain: list[BaseException]) -> list[int]:
    """Ranks whose process was gone when Ray asked for it."""
    from ray.exceptions import RayActorError, WorkerCrashedError

    found = []
    for failure in chain:
        for rank, inner in getattr(failure, "worker_failures", {}).items():
            if any(isinstance(one, RayActorError | WorkerCrashedError) for one in _chain(inner)):
                found.append(int(rank))
    return found


def _chain(error: BaseException) -> list[BaseException]:
    """The error, what caused it, and what each worker raised.

    Ray Train keeps what it wraps in an attribute, and only that survives the way from the controller's process to this
    one: pickle drops `__cause__`.
    """
    wrapped = [getattr(error, name, None) for name in ("health_check_failure", "controller_failure")]
    inner = [*getattr(error, "worker_failures", {}).values(), *wrapped, error.__cause__]
    return [error, *(found for failure in inner if failure is not None for found in _chain(failure))]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
