"""What a sweep has to notice around it: that Ray is gone, or that a run of higher priority waits for its place."""

from __future__ import annotations

import time
from collections.abc import Callable

from forgeline.launching.local_ray import raylet_died

LOOK_EVERY_S = 1.0


class Surroundings:
    """Asked again and again while trials run; it looks once in a while.

    Args:
        outranked: whether a run of higher priority waits for what the sweep holds.
        clock: seconds.

    Attributes:
        gives_way: whether the sweep was found to be outranked.
    """

    def __init__(self, outranked: Callable[[], bool], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._outranked = outranked
        self._clock = clock
        self._look_at = clock() + LOOK_EVERY_S
        self.gives_way = False

    def look(self) -> str | None:
        """Why all trials are to stop, in words; None where they go on."""
        if self._clock() < self._look_at:
            return None
        self._look_at = self._clock() + LOOK_EVERY_S
        self.gives_way = self._outranked()
        return "a run of higher priority waits for this place" if self.gives_way else None


def ray_died() -> bool:
    """Whether no node of Ray's is left."""
    import ray

    return raylet_died() or not any(node["Alive"] for node in ray.nodes())
