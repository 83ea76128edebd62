"""Where a worker's output goes: a log of its own, kept with the attempt."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from pathlib import Path


def redirect_output(log: Path) -> None:
    """Send this process's stdout and stderr, C libraries included, to the rank's own log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


def redirect_to_next(folder: Path) -> Path:
    """The same for a process that has no number: its log is the first `rankN.log` of a folder that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        log = folder / f"rank{number}.log"
        try:
            log.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            continue
        redirect_output(log)
        return log
    raise AssertionError("there are more numbers")
