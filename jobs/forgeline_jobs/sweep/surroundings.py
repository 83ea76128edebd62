"""What a sweep has to notice around it: that Ray is gone, or that a run of higher priority waits for its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forgeline.errors import RunFailed
from forgeline.ledger.states import Reason

LOOK_EVERY_S = 1.0

Nodes = Callable[[], Sequence[Mapping[str, Any]]]


class Surroundings:
    """Asked again and again while trials run; it looks once in a while.

    Args:
        outranked: whether a run of higher priority waits for what the sweep holds.
        nodes: those of Ray.
        clock: seconds.

    Attributes:
        gives_way: whether the sweep was found to be outranked.
    """

    def __init__(
        self, outranked: Callable[[], bool], *, nodes: Nodes | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outranked = outranked
        self._nodes = nodes or _rays_own
        self._clock = clock
        self._look_at = clock() + LOOK_EVERY_S
        self.gives_way = False

    def look(self) -> str | None:
        """Why all trials are to stop, in words; None where they go on.

        Raises:
            RunFailed: no node of Ray's is left. Tune would wait for one for ever.
        """
        if self._clock() < self._look_at:
            return None
        self._look_at = self._clock() + LOOK_EVERY_S
        if not any(node["Alive"] for node in self._nodes()):
            raise RunFailed("Ray's last node died under the sweep; resume it", reason=Reason.NODE_LOST)
        self.gives_way = self._outranked()
        return "a run of higher priority waits for this place" if self.gives_way else None


def _rays_own() -> Sequence[Mapping[str, Any]]:
    import ray

    found: Sequence[Mapping[str, Any]] = ray.nodes()
    return found
