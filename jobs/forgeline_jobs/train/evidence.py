"""What a worker that fails leaves behind, and what its log tells of one that could leave nothing."""

from __future__ import annotations

import json
import os
import re
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FAILURE = "failure.json"

_FATAL = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
_NEAR_BYTES = 2**18


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a rank raised."""

    rank: int
    type: str
    message: str


def record_failure(folder: Path, rank: int, error: BaseException) -> None:
    """Leave the evidence of which rank failed and why; the first rank to fail keeps its place in `failure.json`.

    On a full disk there is no evidence, and the error itself goes on its way.
    """
    traceback.print_exception(error)
    evidence = Evidence(rank=rank, type=type(error).__name__, message=str(error))
    own = folder / f"failure-{rank}.json"
    with suppress(OSError):
        own.write_text(json.dumps(asdict(evidence)), encoding="utf-8")
        os.link(own, folder / FAILURE)


def failures(folder: Path) -> list[Evidence]:
    """What the ranks of an attempt left, the first to fail first."""
    found = [one for path in (folder / FAILURE, *sorted(folder.glob("failure-*.json"))) if (one := _read(path))]
    return list(dict.fromkeys(found))


def crash(log: Path) -> str | None:
    """What a process that was ended by its own fault, such as a segmentation fault, wrote in dying; None without."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _NEAR_BYTES))
            found = _FATAL.findall(file.read().decode("utf-8", "replace"))
    except FileNotFoundError:
        return None
    return str(found[-1]) if found else None


def _read(path: Path) -> Evidence | None:
    try:
        return Evidence(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # Not there, or cut short by a kill.
        return None
