"""How far each worker of an attempt is, in a small file of its own that the driver reads while the worker is stuck.

- A beat is one `pwrite` of 40 bytes, about a microsecond: every batch beats several times.
- It says where the worker is, never when: whoever reads it measures on a clock of its own, and clocks may jump.
- `(batch, count)` grows along the same path on every rank: the rank that has the least of it is the one waited for.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from forgeline.ledger import driver_process

_PLACE = struct.Struct("<qqqqq")  # phase, whether it is new, batch, count, step
_IDENTITY_AT = 64
_MEASURING = 1 << 32


class Phase(IntEnum):
    """What a worker is doing."""

    STARTING = 0
    LOADING = 1
    FORWARD = 2
    BACKWARD = 3
    STEPPING = 4
    VALIDATING = 5
    MEASURING = 6
    SAVING = 7
    FINISHING = 8
    DONE = 9
    COMPILING = 10

    @property
    def word(self) -> str:
        return _WORDS[self]


_WORDS: Mapping[Phase, str] = {
    Phase.STARTING: "starting",
    Phase.LOADING: "between two batches",
    Phase.FORWARD: "in the forward pass",
    Phase.BACKWARD: "in the backward pass",
    Phase.STEPPING: "in the optimizer step",
    Phase.VALIDATING: "validating",
    Phase.MEASURING: "measuring the validation",
    Phase.SAVING: "writing a checkpoint",
    Phase.FINISHING: "handing over the model",
    Phase.DONE: "done",
    Phase.COMPILING: "compiling the model",
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which process it is.

    Attributes:
        started_s: seconds from its machine's boot to its start, which tells it from a later one of the same id.
        host: name of its node.
        machine: boot and process namespace that its id belongs to.
        node: Ray's id of its node; empty outside of Ray.
        oom_kills: processes that its node's kernel had killed for memory when it began; None where that is not told.
    """

    rank: int
    pid: int
    started_s: float | None
    host: str
    machine: str
    node: str
    oom_kills: int | None

    @classmethod
    def own(cls, rank: int, *, node: str = "") -> Self:
        """That of this process."""
        pid = os.getpid()
        return cls(
            rank=rank,
            pid=pid,
            started_s=driver_process.started_s(pid),
            host=driver_process.this_host(),
            machine=driver_process.this_machine(),
            node=node,
            oom_kills=oom_kills(),
        )


@dataclass(frozen=True, kw_only=True)
class Beat:
    """Where a worker was when it last got on.

    Attributes:
        fresh: the worker is in this phase for the first time, when it compiles, allocates and opens connections.
        batch: pieces of batches that went into the model, those of the attempts before it included.
        count: beats since that batch began.
        step: optimizer steps of the run.
    """

    who: Identity
    phase: Phase
    fresh: bool
    batch: int
    count: int
    step: int

    @property
    def place(self) -> tuple[int, int]:
        """How far it is; of two ranks, the one with less is waited for."""
        return self.batch, self.count

    @property
    def done(self) -> bool:
        return self.phase is Phase.DONE


class Heart:
    """Writes the beats of this process.

    Args:
        path: the file.
        who: this process.
    """

    def __init__(self, path: Path, who: Identity) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._seen: set[Phase] = set()
        self._batch = self._count = self._step = 0
        self._phase = Phase.STARTING
        self.beat(Phase.STARTING)
        os.pwrite(self._file, json.dumps(asdict(who)).encode() + b"\n", _IDENTITY_AT)

    def begin_batch(self, batch: int, step: int) -> None:
        """A batch was loaded and goes into the model."""
        self._batch, self._count, self._step = batch, 0, step
        self.beat(Phase.FORWARD)

    def beat(self, phase: Phase) -> None:
        """Tell that the worker got on; a second beat of a phase makes it an old one."""
        if phase is Phase.MEASURING:
            # Ranks may have had different numbers of batches to validate; from here they are level.
            self._count |= _MEASURING
        fresh = phase not in self._seen
        if phase is not self._phase:
            self._seen.add(self._phase)
        self._phase = phase
        self._count += 1
        self._write(phase, fresh=fresh)

    def begin_compiling(self) -> None:
        """Tell that the worker compiles, wherever it is; not counted: others may have nothing to compile there."""
        self._write(Phase.COMPILING, fresh=False)

    def end_compiling(self) -> None:
        """Tell that the worker goes on where it was."""
        self._write(self._phase, fresh=self._phase not in self._seen)

    def _write(self, phase: Phase, *, fresh: bool) -> None:
        os.pwrite(self._file, _PLACE.pack(phase, fresh, self._batch, self._count, self._step), 0)


def read(path: Path) -> Beat | None:
    """The newest beat of a worker; None before there is one."""
    try:
        content = path.read_bytes()
        place, identity = content[: _PLACE.size], content[_IDENTITY_AT:]
        if not identity.endswith(b"\n"):
            return None
        phase, fresh, batch, count, step = _PLACE.unpack(place)
        who = Identity(**json.loads(identity))
    except FileNotFoundError:
        return None
    return Beat(who=who, phase=Phase(phase), fresh=bool(fresh), batch=batch, count=count, step=step)


def read_all(folder: Path) -> dict[int, Beat]:
    """The newest beats of an attempt's workers, by rank."""
    beats = [read(path) for path in sorted(folder.glob("heartbeat-*"))]
    return {beat.who.rank: beat for beat in beats if beat is not None}


def oom_kills() -> int | None:
    """Processes of this node that its kernel killed for memory since boot, those of limited groups included."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
