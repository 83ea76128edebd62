"""Neighbour sampling: at most what is asked for, all where there are fewer, and the same draw wherever it is made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from forgeline_jobs.data.neighbours import NeighbourSampler, Subgraph

NODES = 60
RNG = np.random.default_rng(0)
EDGES = np.unique(RNG.integers(0, NODES, (900, 2)), axis=0)
KEYS = (3, 1)


def sample(fanout: tuple[int, ...], seeds: list[int], keys: tuple[int, int] = KEYS) -> Subgraph:
    return NeighbourSampler(EDGES, NODES, fanout).sample(np.asarray(seeds, dtype=np.int64), keys)


def pairs(part: Subgraph) -> list[tuple[int, int]]:
    """Edges by the numbers of the whole graph."""
    return [(int(a), int(b)) for a, b in part.nodes[part.edges]]


def into(part: Subgraph, node: int) -> set[int]:
    return {source for source, to in pairs(part) if to == node}


def in_neighbours(node: int) -> set[int]:
    return {int(source) for source, to in EDGES if to == node}


def test_it_is_a_part_of_the_graph_with_the_seeds_in_it() -> None:
    part = sample((4, 3), [5, 17, 2])
    found = pairs(part)
    assert set(found) <= {(int(a), int(b)) for a, b in EDGES} and len(found) == len(set(found))
    assert part.nodes[part.seeds].tolist() == [5, 17, 2]
    assert set(part.nodes.tolist()) == {5, 17, 2} | {node for pair in found for node in pair}


def test_a_node_keeps_at_most_the_fanout_of_its_hop() -> None:
    part = sample((4, 3), [5, 17])
    for seed in (5, 17):
        assert len(into(part, seed)) == min(4, len(in_neighbours(seed)))
    second = {source for seed in (5, 17) for source in into(part, seed)} - {5, 17}
    assert second and all(len(into(part, node)) == min(3, len(in_neighbours(node))) for node in second)
    outer = set(part.nodes.tolist()) - second - {5, 17}
    assert outer and all(into(part, node) == set() for node in outer)


def test_a_large_fanout_keeps_the_whole_neighbourhood() -> None:
    part = sample((1000, 1000), [5])
    first = in_neighbours(5)
    assert into(part, 5) == first
    assert all(into(part, node) == in_neighbours(node) for node in first)


def test_a_draw_depends_on_seed_epoch_and_node_alone() -> None:
    alone, among = sample((4,), [5]), sample((4,), [40, 5, 9])
    assert into(alone, 5) == into(among, 5)
    shuffled = NeighbourSampler(EDGES, NODES, (4,)).sample(np.asarray([9, 5]), KEYS)
    assert into(shuffled, 5) == into(alone, 5)
    busy = max(range(NODES), key=lambda node: len(in_neighbours(node)))
    draws = {frozenset(into(sample((4,), [busy], keys), busy)) for keys in ((3, 1), (3, 2), (4, 1), (5, 5))}
    assert len(draws) > 1


def test_every_neighbour_is_drawn_equally_often() -> None:
    busy = max(range(NODES), key=lambda node: len(in_neighbours(node)))
    counts: NDArray[np.int64] = np.zeros(NODES, dtype=np.int64)
    epochs = 2000
    for epoch in range(epochs):
        counts[list(into(sample((4,), [busy], (0, epoch)), busy))] += 1
    members = sorted(in_neighbours(busy))
    share = 4 / len(members)
    # Five standard deviations of a binomial count.
    assert counts.sum() == 4 * epochs
    assert np.abs(counts[members] - epochs * share).max() < 5 * np.sqrt(epochs * share * (1 - share))


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_nodes_without_neighbours_are_left_alone(seeds: list[int]) -> None:
    sampler = NeighbourSampler(np.zeros((0, 2), dtype=np.int64), 3, (2, 2))
    part = sampler.sample(np.asarray(seeds), KEYS)
    assert part.nodes.tolist() == seeds and part.edges.shape == (0, 2) and part.seeds.tolist() == seeds
