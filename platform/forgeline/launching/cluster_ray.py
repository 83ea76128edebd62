"""The cluster that this driver runs in as a Ray job; its processes are the cluster's own business."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgeline.launching.admission import Capacity

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources


class ClusterRay:
    """The connection of a driver inside a Ray job; the counterpart of `LocalRay`.

    Args:
        counts: numbers of workers that the run can have, fewest first.
    """

    def __init__(self, *, counts: Sequence[int]) -> None:
        self._counts = counts
        self.started = False

    def start(self, resources: Resources, gpus: Sequence[str] = ()) -> None:
        """Connect, and see whether the cluster can ever hold the run; it gives out its GPUs itself.

        Raises:
            SpecError: it is too small.
        """
        os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
        import ray

        ray.init(address="auto", log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
        self.started = True
        total: dict[str, float] = ray.cluster_resources()
        Capacity(
            cpus=total.get("CPU", 0), gpus=total.get("GPU", 0), memory=total.get("memory", 0), place="the cluster"
        ).check(resources, self._counts)

    def stop(self) -> None:
        """Disconnect; Ray ends what the job left."""
        if self.started:
            self.started = False
            import ray

            ray.shutdown()

    def kill(self) -> None:
        """End the job's actors and tasks without asking, which disconnecting does."""
        self.stop()
