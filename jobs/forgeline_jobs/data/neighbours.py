"""Neighbour sampling: the part of a graph that a few nodes are learnt from, drawn hop by hop.

Hamilton, Ying & Leskovec 2017 (arXiv:1706.02216), algorithm 2, but without replacement: a node with fewer neighbours
than are asked for keeps all of them. Each edge has a random number that depends on (seed, epoch, hop, edge) alone, and
a node keeps its edges with the smallest: its draw is the same on whatever worker and in whatever batch it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.base import Indices, Keys
from forgeline_jobs.data.randomness import uniform


@dataclass(frozen=True, kw_only=True, slots=True)
class Subgraph:
    """A part of a graph.

    Attributes:
        nodes: [m] numbers in the whole graph, ascending.
        edges: [k, 2] (from, to) as positions among `nodes`.
        seeds: [b] positions among `nodes` of the nodes that it was drawn for.
    """

    nodes: Indices
    edges: NDArray[np.int64]
    seeds: Indices


class NeighbourSampler:
    """Draws subgraphs.

    Args:
        edges: [e, 2] (from, to) of the whole graph.
        nodes: how many nodes it has.
        fanout: most incoming edges that a node keeps, for the seeds, their neighbours, and so on.
    """

    def __init__(self, edges: NDArray[np.int64], nodes: int, fanout: tuple[int, ...]) -> None:
        # Edges into a node lie side by side: those into node v are `_starts[v]` to `_starts[v + 1]`.
        order = np.argsort(edges[:, 1], kind="stable")
        self._from, self._to = edges[order, 0], edges[order, 1]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(edges[:, 1], minlength=nodes))])
        self._fanout = fanout

    def sample(self, seeds: Indices, keys: Keys) -> Subgraph:
        """The subgraph of `seeds` in this (seed, epoch); each node is expanded at the hop that first reaches it."""
        reached = frontier = np.unique(seeds)
        kept: list[Indices] = []
        for hop, most in enumerate(self._fanout):
            drawn = self._incoming(frontier, most, keys, hop)
            kept.append(drawn)
            frontier = np.setdiff1d(self._from[drawn], reached)
            reached = np.union1d(reached, frontier)
        edges = np.concatenate(kept)
        pairs = np.stack([self._from[edges], self._to[edges]], axis=1)
        return Subgraph(nodes=reached, edges=np.searchsorted(reached, pairs), seeds=np.searchsorted(reached, seeds))

    def _incoming(self, nodes: Indices, most: int, keys: Keys, hop: int) -> Indices:
        """At most `most` of the edges into each of `nodes`, by their places in `_from`."""
        first, sizes = self._starts[nodes], self._starts[nodes + 1] - self._starts[nodes]
        group = np.repeat(np.arange(len(nodes)), sizes)
        before = np.cumsum(sizes) - sizes
        edges = first[group] + np.arange(len(group)) - before[group]
        chance = uniform(keys, edges, 1, stream=f"hop{hop}")[:, 0]
        order = np.lexsort((chance, group))
        rank = np.arange(len(group)) - before[group]
        chosen: Indices = edges[order[rank < most]]
        return chosen
