"""Link prediction: which pairs of nodes of an undirected graph are linked (Kipf & Welling 2016, arXiv:1611.07308).

- A share of the links is held out, and messages go along those of train alone, in every split. Val and test have as
  many pairs that are not linked, drawn once; training draws one anew for each of its links in each epoch. The draw
  depends on seed, epoch and link alone.
- What training draws is no link of train; it may be one that is held out, of which training knows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, GraphPreprocessing
from forgeline.preprocessing.graph import edge_pairs, node_features
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.base import SPLITS, Batch, Indices, Keys, PreparedData, Split, as_int64
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.neighbours import NeighbourSampler
from forgeline_jobs.data.randomness import uniform
from forgeline_jobs.data.splits import random_split

if TYPE_CHECKING:
    from forgeline_jobs.data.graph import NodesConfig

LINKED = ClassTarget(name="linked", classes=("False", "True"), label_type="boolean")
_KEY = "data.path"
_ROUNDS = 100  # of drawing a pair; in a graph with half of all links, one draw in two is none
_EXAMPLE_PAIRS = 2


class PairSplit:
    """Pairs of nodes, with the graph that they are told from.

    Args:
        features: [n, F] of all nodes.
        edges: [e, 2] (from, to) that messages go along.
        pairs: [b, 2] of this split.
        classes: [b] whether they are linked.
        unlinked: draws a pair for each of the split's in training; None where there are both kinds already.
        sampler: draws neighbours in training; None reads the whole graph.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        edges: NDArray[np.int64],
        pairs: NDArray[np.int64],
        classes: NDArray[np.int64],
        *,
        unlinked: UnlinkedPairs | None = None,
        sampler: NeighbourSampler | None = None,
    ) -> None:
        self._features = features
        self._edges = edges
        self._pairs = pairs
        self._classes = classes
        self._unlinked = unlinked
        self._sampler = sampler

    def __len__(self) -> int:
        return len(self._pairs)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`features` [m, F], `edges` [k, 2], `seeds` [b, 2] (positions among the m nodes), and `target` [b].

        In training, b is twice the number of `indices`: the links, then the pairs that were drawn for them.
        """
        pairs, target = self._pairs[indices], self._classes[indices]
        if self._unlinked is not None:
            drawn = self._unlinked.draw(indices, rng_keys or (0, 0))
            pairs, target = np.concatenate([pairs, drawn]), np.concatenate([target, np.zeros_like(target)])
        if self._sampler is None or rng_keys is None:
            return {"features": self._features, "edges": self._edges, "seeds": pairs, "target": target}
        part = self._sampler.sample(pairs, rng_keys)
        return {"features": self._features[part.nodes], "edges": part.edges, "seeds": part.seeds, "target": target}


class UnlinkedPairs:
    """Draws pairs of different nodes that are not linked.

    Args:
        links: [e, 2] that no pair may be, the smaller node first.
        nodes: of the graph.
    """

    def __init__(self, links: NDArray[np.int64], nodes: int) -> None:
        self._links = np.sort(_codes(links, nodes))
        self._nodes = nodes

    def draw(self, indices: Indices, keys: Keys) -> NDArray[np.int64]:
        """[n, 2], the smaller node first, a pair for each index: a function of it and of (seed, epoch) alone.

        Raises:
            DataError: the graph has hardly a pair that is not linked.
        """
        pairs = np.zeros((len(indices), 2), dtype=np.int64)
        missing = np.arange(len(indices))
        for round_ in range(_ROUNDS):
            numbers = uniform(keys, indices[missing], 2, stream=f"pair{round_}")
            drawn = np.sort((numbers * self._nodes).astype(np.int64), axis=1)
            pairs[missing] = drawn
            refused = (drawn[:, 0] == drawn[:, 1]) | np.isin(_codes(drawn, self._nodes), self._links)
            missing = missing[refused]
            if not len(missing):
                return pairs
        raise DataError("almost all nodes are linked to each other: there is no pair to tell from a link", key=_KEY)


def prepare_links(graph: Mapping[str, NDArray[Any]], *, config: NodesConfig, normalise_rows: bool) -> PreparedData:
    """Encode an undirected graph (`x` or its sparse parts, and `edge_index`), some of whose links are held out.

    Raises:
        DataError: the graph is not what it should be, or has too few links to hold some out.
    """
    x = node_features(graph, key=_KEY)
    given = edge_pairs(graph["edge_index"], nodes=len(x), key=_KEY)
    links = np.unique(np.sort(given[given[:, 0] != given[:, 1]], axis=1), axis=0)
    indices = random_split(len(links), config.links)
    preprocessing = GraphPreprocessing(
        features=x.shape[1], normalise_rows=normalise_rows, undirected=True, answers="links", target=LINKED
    )
    features, edges = preprocessing.scaled(x), preprocessing.directed(links[indices.train])
    held = UnlinkedPairs(links, len(x))
    splits: dict[str, Split] = {
        "train": PairSplit(
            features,
            edges,
            links[indices.train],
            np.ones(len(indices.train), dtype=np.int64),
            unlinked=UnlinkedPairs(links[indices.train], len(x)),
            sampler=None if config.fanout is None else NeighbourSampler(edges, len(x), config.fanout),
        )
    }
    for name in SPLITS[1:]:
        drawn = held.draw(indices[name], (config.links.seed, 0))
        pairs = np.concatenate([links[indices[name]], drawn])
        splits[name] = PairSplit(features, edges, pairs, as_int64(np.arange(len(pairs)) < len(indices[name])))
    return PreparedData(
        signature=Signature(
            task="classification",
            inputs={
                "features": TensorSpec(shape=(x.shape[1],), dtype="float32"),
                "edges": TensorSpec(shape=(2,), dtype="int64"),
                "seeds": TensorSpec(shape=(2,), dtype="int64"),
            },
            outputs=(len(LINKED.classes),),
        ),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays({"x": x, "links": links} | {name: indices[name] for name in SPLITS}),
        summary={
            "samples": {name: len(splits[name]) for name in SPLITS},
            "task": "classification",
            "nodes": len(x),
            "links": len(links),
            "features": x.shape[1],
        },
        input_example=_example(x, links, indices.train[:_EXAMPLE_PAIRS]),
    )


def _codes(pairs: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
    """One number for each pair."""
    codes: NDArray[np.int64] = pairs[:, 0] * nodes + pairs[:, 1]
    return codes


def _example(x: NDArray[Any], links: NDArray[np.int64], chosen: Indices) -> dict[str, NDArray[Any]]:
    """A small graph as a user would give it: two links of the graph, one of them asked about, and one across."""
    nodes = np.unique(links[chosen])
    edges = np.searchsorted(nodes, links[chosen])
    across = np.stack([edges[0], [edges[0, 0], edges[-1, 1]]])
    return {"x": x[nodes].astype(np.float32), "edge_index": edges.T, "pairs": across.T}
