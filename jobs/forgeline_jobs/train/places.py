"""How many workers the nodes of Ray have room for. A worker is on one node: what is free is counted node by node."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources

_ROUNDING = 1e-9


def per_worker(resources: Resources) -> dict[str, float]:
    """What Ray is to reserve for each worker, under Ray's names.

    >>> per_worker(Resources(cpus_per_worker=2, memory_per_worker="1KiB"))
    {'CPU': 2.0, 'memory': 1024}
    """
    memory = resources.memory_per_worker
    wanted = {
        "CPU": resources.cpus_per_worker,
        "GPU": resources.gpus_per_worker,
        "memory": memory.bytes if memory is not None else 0,
    }
    return {name: amount for name, amount in wanted.items() if amount}


def rooms(offered: Mapping[str, Mapping[str, float]], need: Mapping[str, float]) -> dict[str, int]:
    """Workers that each node has room for, of those that have room for one.

    >>> rooms({"a": {"CPU": 4.0, "GPU": 1.0}, "b": {"CPU": 8.0}}, {"CPU": 2.0, "GPU": 0.5})
    {'a': 2}

    Args:
        offered: by node, what it offers under Ray's names.
        need: of a worker.
    """
    found = {
        node: min((math.floor(has.get(name, 0.0) / amount + _ROUNDING) for name, amount in need.items()), default=0)
        for node, has in offered.items()
    }
    return {node: workers for node, workers in found.items() if workers > 0}


def all_rooms(need: Mapping[str, float]) -> dict[str, int]:
    """Workers that each living node could hold if it were empty."""
    import ray

    return rooms({node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}, need)


def free_rooms(need: Mapping[str, float], *, without: Collection[str] = ()) -> dict[str, int]:
    """Workers that each living node has room for now.

    Args:
        need: of a worker.
        without: nodes that are known to be gone, or about to be taken away.
    """
    import ray
    from ray._private.state import available_resources_per_node  # Ray's public function adds all nodes up

    free: Mapping[str, Mapping[str, float]] = available_resources_per_node()
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]} - set(without)
    return rooms({node: has for node, has in free.items() if node in alive}, need)
