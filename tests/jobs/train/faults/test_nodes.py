"""A node of a cluster that is gone at once, with all of its processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.jobs.train.faults.scene import INTERVAL, MIDDLE, Outcome, Scene
from tests.jobs.train.raylets import RayCluster, Raylet

pytestmark = [pytest.mark.ray, pytest.mark.acceptance, pytest.mark.cluster]


@pytest.fixture
def nodes(scene: Callable[..., Scene]) -> Iterator[tuple[Scene, list[Raylet]]]:
    """A run to be started on a cluster of three nodes, with room for one worker each."""
    found = scene(retry__node_lost=1)
    with RayCluster(os.environ) as cluster:
        raylets = [cluster.add(cpus=1) for _ in range(3)]
        cluster.wait_for_jobs()
        found.cluster = cluster
        yield found, raylets


def test_a_raylet_is_killed(nodes: tuple[Scene, list[Raylet]], tell: Callable[[Outcome], None]) -> None:
    found, raylets = nodes
    found.start()
    beats = found.when_at(MIDDLE)
    assert len({beat.who.node for beat in beats.values()}) == 2
    host = next(raylet for raylet in raylets if raylet.runs(beats[1].who.pid))
    host.kill()
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "node_lost"))
    assert "is gone, and rank 1 with it" in (found.run.attempts[0].message or "")
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.redone <= INTERVAL
