"""The Ray that a run finds itself in, held by the run that it is a part of; the counterpart of `LocalRay`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources


class HeldRay:
    """This process is one of Ray's own; the place in the queue, and Ray's life, are the other run's.

    Args:
        kill: ends the run's workers without asking.
    """

    started = True

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill

    def start(self, resources: Resources, gpus: Sequence[str] = ()) -> None:
        """It is there."""

    def stop(self) -> None:
        """It stays."""

    def kill(self) -> None:
        """End the workers, so that whoever waits for them gets an error."""
        self._kill()
