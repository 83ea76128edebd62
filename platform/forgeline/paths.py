"""All file names of a run in one place, and the confinement of paths that came from outside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from forgeline.errors import ForgelineError


@dataclass(frozen=True)
class RunPaths:
    """The folder of one run.

    >>> RunPaths(Path("home"), "3f2a").rank_log(attempt=1, rank=0).as_posix()
    'home/runs/3f2a/attempts/1/rank0.log'
    """

    home: Path
    run_id: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.run_id):
            raise ForgelineError(f"a run id holds letters, digits, - and _ only, got {self.run_id!r}")

    @property
    def root(self) -> Path:
        return self.home / "runs" / self.run_id

    @property
    def spec(self) -> Path:
        return self.root / "spec.yaml"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def driver_log(self) -> Path:
        return self.root / "driver.log"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def bundle(self) -> Path:
        return self.root / "bundle"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    def attempt(self, number: int) -> Path:
        return self.root / "attempts" / str(number)

    def rank_log(self, *, attempt: int, rank: int) -> Path:
        return self.attempt(attempt) / f"rank{rank}.log"

    def spool(self, *, attempt: int, rank: int) -> Path:
        return self.attempt(attempt) / f"spool-{rank}.jsonl"

    def heartbeat(self, *, attempt: int, rank: int) -> Path:
        return self.attempt(attempt) / f"heartbeat-{rank}"

    def stop_request(self, *, attempt: int) -> Path:
        """Exists once the workers of `attempt` should save a checkpoint and end."""
        return self.attempt(attempt) / "stop"


def confine(path: str | Path, root: Path, *, error: type[ForgelineError] = ForgelineError) -> Path:
    """`root / path`, resolved, refused when it leaves `root` (through `..`, an absolute path or a link).

    Raises:
        ForgelineError: (or `error`) the path leaves the folder.
    """
    folder = root.resolve()
    resolved = (folder / path).resolve()
    if not resolved.is_relative_to(folder):
        raise error(f"path {str(path)!r} leaves the folder {folder.name!r}; only paths inside it are allowed")
    return resolved
