"""Asking the node that a worker is on: this machine directly, another one by a Ray task that is bound to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from forgeline.ledger import driver_process

if TYPE_CHECKING:
    from forgeline_jobs.train.heartbeat import Identity

T = TypeVar("T")


class NodeGone(Exception):
    """A node does not answer."""


def on_node(who: Identity, function: Callable[..., T], *arguments: object, within_s: float = 15.0) -> T:
    """What a function says where a worker is.

    Args:
        who: the worker.
        function: of this package, which Ray finds there as well.
        within_s: how long the node may take.

    Raises:
        NodeGone: it does not answer.
    """
    if is_here(who):
        return function(*arguments)
    try:
        return _bound(who.node, function, *arguments, within_s=within_s)
    except NodeGone as error:
        raise NodeGone(f"{who.host} does not answer: {error}") from error


def _bound(node: str, function: Callable[..., T], *arguments: object, within_s: float) -> T:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    bound = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    try:
        task = ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=bound).remote(*arguments)
        answer: T = ray.get(task, timeout=within_s)
    except (ray.exceptions.RayError, ValueError) as error:
        raise NodeGone(str(error).strip().splitlines()[0]) from error
    return answer


def is_here(who: Identity) -> bool:
    """Whether a worker is a process of this machine."""
    return who.machine == driver_process.this_machine()


def answers(node: str, *, within_s: float = 15.0) -> bool:
    """Whether a node is still there. Ray's table takes a while to notice that one is gone: it is asked itself."""
    import ray

    if node == ray.get_runtime_context().get_node_id():
        return True
    if not any(known["NodeID"] == node and known["Alive"] for known in ray.nodes()):
        return False
    try:
        _bound(node, driver_process.this_host, within_s=within_s)
    except NodeGone:
        return False
    return True


def draining() -> set[str]:
    """Ids of the nodes that are announced to be taken away."""
    import ray._private.state

    return set(ray._private.state.state.get_draining_nodes())
