"""The wish that all trials of a sweep stop; their actors, in processes of their own, see it as a file."""

from __future__ import annotations

import time
from pathlib import Path

MARGIN_S = 15.0
"""Seconds beyond the grace of a run until its end is written and told."""


class Halt:
    """Not there at first, whatever an earlier execution left.

    Args:
        file: that exists once trials are to stop.
        grace_s: that a run has to stop.

    Attributes:
        why: they are to stop, in words; None while they are not.
    """

    def __init__(self, file: Path, *, grace_s: float) -> None:
        file.unlink(missing_ok=True)
        self.file = file
        self.why: str | None = None
        self._grace_s = grace_s
        self._by = 0.0

    def ask(self, why: str) -> None:
        """Have them stop."""
        self.why = why
        self.file.touch()
        self._by = time.monotonic() + self._grace_s + MARGIN_S

    @property
    def is_overdue(self) -> bool:
        """Whether they have had their time for it."""
        return self.why is not None and time.monotonic() >= self._by

    def of_one(self, name: str) -> Path:
        """The file that tells the actor of one run to stop it, where the others go on."""
        return self.file.with_name("pruned") / name
