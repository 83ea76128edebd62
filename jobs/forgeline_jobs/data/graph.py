"""Graphs whose nodes are classified: the user's own in an .npz file, and what every built-in one is prepared by.

A sample is a node; a batch is the graph that its nodes (`seeds`) are read in. That is the whole graph, or, with a
`fanout`, in training the neighbours that are drawn anew in each epoch. Val and test always see all neighbours, as a
prediction does. Learning is transductive: features and edges of every node are seen in training, labels only of train.
With `predict: links`, a sample is a pair of nodes (links.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, GraphPreprocessing
from forgeline.preprocessing.graph import edge_pairs, node_features, node_numbers
from forgeline.preprocessing.reading import existing, read_arrays
from forgeline.preprocessing.target import label_texts
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.base import (
    SPLITS,
    Batch,
    ClassWeights,
    DataConfig,
    Indices,
    Keys,
    PreparedData,
    Split,
    SplitConfig,
    as_int64,
)
from forgeline_jobs.data.checks import balanced_weights, class_counts, class_target
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.links import prepare_links
from forgeline_jobs.data.neighbours import NeighbourSampler
from forgeline_jobs.data.splits import SplitIndices, stratified_split

_KEY = "data.path"
# A graph to try a model with: this many nodes of train, with their neighbours.
_EXAMPLE_NODES = 2


class NodesConfig(DataConfig):
    """Settings of every graph."""

    fanout: tuple[PositiveInt, ...] | None = Field(
        default=None,
        description="Most neighbours a node is trained with, hop by hop, e.g. [10, 5]; the whole graph when not given.",
    )
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")
    predict: Literal["nodes", "links"] = Field(
        default="nodes", description="What is told: the class of a node, or whether two nodes are linked."
    )
    links: SplitConfig = Field(
        default=SplitConfig(val=0.05, test=0.1), description="How links are held out, to be predicted."
    )

    @model_validator(mode="after")
    def _links_are_as_many_as_pairs_without(self) -> Self:
        if self.predict == "links" and self.class_weights is not None:
            raise ValueError("class_weights are for predict nodes: links and other pairs are as many; remove them")
        return self


class GraphConfig(NodesConfig):
    """A graph of the user's own."""

    path: str = Field(
        description="An .npz file with `x`, `edge_index`, `y` and, to fix the split, `train`, `val` and `test`."
    )
    normalise_rows: bool = Field(
        default=False, description="Divide each node's features by the sum of their absolute values, for counts."
    )
    undirected: bool = Field(default=False, description="Read every edge both ways; else messages go from row 0 to 1.")
    split: SplitConfig = Field(
        default=SplitConfig(), description="How nodes are held out where the file does not say it."
    )


class NodeSplit:
    """Nodes of one graph.

    Args:
        features: [n, F] of all nodes.
        edges: [e, 2] (from, to).
        nodes: those of this split.
        classes: [b] the class of each of them.
        sampler: draws neighbours in training; None reads the whole graph.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        edges: NDArray[np.int64],
        nodes: Indices,
        classes: NDArray[np.int64],
        sampler: NeighbourSampler | None,
    ) -> None:
        self._features = features
        self._edges = edges
        self._nodes = nodes
        self._classes = classes
        self._sampler = sampler

    def __len__(self) -> int:
        return len(self._nodes)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`features` [m, F], `edges` [k, 2], `seeds` [b] (positions among the m nodes), and `target` [b]."""
        seeds, target = self._nodes[indices], self._classes[indices]
        if self._sampler is None or rng_keys is None:
            return {"features": self._features, "edges": self._edges, "seeds": seeds, "target": target}
        part = self._sampler.sample(seeds, rng_keys)
        return {"features": self._features[part.nodes], "edges": part.edges, "seeds": part.seeds, "target": target}


def graph_file(path: str, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file: `x`, or its sparse parts, which whoever encodes them asks for, and those wanted.

    Raises:
        DataError: the file cannot be read, or one of those wanted is not in it.
    """
    place = existing(path, key=_KEY)
    if place.suffix.lower() != ".npz":
        raise DataError(f"`{place}` is not an .npz file", key=_KEY)
    arrays = read_arrays(place, key=_KEY)
    if any(name not in arrays for name in wanted):
        has = ", ".join(sorted(arrays)) or "nothing"
        listed = " and ".join(", ".join(f"`{name}`" for name in ("x", *wanted)).rsplit(", ", 1))
        raise DataError(f"`{place}` has {has}; wanted {listed}", key=_KEY)
    return arrays


def prepare_graph(config: GraphConfig) -> PreparedData:
    """Read and prepare a user's graph.

    Raises:
        DataError: the file or an array is not what the config promises.
    """
    arrays = graph_file(config.path, ("edge_index", "y") if config.predict == "nodes" else ("edge_index",))
    if config.predict == "links":
        if not config.undirected:
            raise DataError(
                "undirected is false, and predict links tells whether two nodes are linked, not in which direction; "
                "set undirected to true",
                key="data.undirected",
            )
        return prepare_links(arrays, config=config, normalise_rows=config.normalise_rows)
    nodes = len(node_features(arrays, key=_KEY))
    labels = arrays["y"]
    if labels.shape != (nodes,):
        raise DataError(f"`y` is {list(labels.shape)}; wanted a label for each of the {nodes} nodes", key=_KEY)
    known = _labelled(labels)
    target = class_target("y", labels[known].tolist(), key=_KEY, where="labelled node")
    classes = np.full(nodes, -1, dtype=np.int64)
    classes[known] = target.encode(labels[known].tolist())
    indices = _given_split(arrays, classes)
    if indices is None:
        drawn = stratified_split(classes[known], config.split)
        indices = SplitIndices(train=known[drawn.train], val=known[drawn.val], test=known[drawn.test])
    return prepare_nodes(
        arrays,
        classes,
        target=target,
        indices=indices,
        config=config,
        normalise_rows=config.normalise_rows,
        undirected=config.undirected,
    )


def prepare_nodes(
    graph: Mapping[str, NDArray[Any]],
    classes: NDArray[np.int64],
    *,
    target: ClassTarget,
    indices: SplitIndices,
    config: NodesConfig,
    normalise_rows: bool,
    undirected: bool = False,
) -> PreparedData:
    """Encode a graph (`x` or its sparse parts, and `edge_index`) whose nodes have classes; -1 where it is unknown."""
    x = node_features(graph, key=_KEY)
    pairs = edge_pairs(graph["edge_index"], nodes=len(x), key=_KEY)
    preprocessing = GraphPreprocessing(
        features=x.shape[1], normalise_rows=normalise_rows, undirected=undirected, target=target
    )
    features, edges = preprocessing.scaled(x), preprocessing.directed(pairs)
    sampler = None if config.fanout is None else NeighbourSampler(edges, len(x), config.fanout)
    splits: dict[str, Split] = {
        name: NodeSplit(features, edges, indices[name], classes[indices[name]], sampler if name == "train" else None)
        for name in SPLITS
    }
    train = indices["train"]
    held = np.concatenate([indices[name] for name in SPLITS])
    return PreparedData(
        signature=Signature(
            task="classification",
            inputs={
                "features": TensorSpec(shape=(x.shape[1],), dtype="float32"),
                "edges": TensorSpec(shape=(2,), dtype="int64"),
                "seeds": TensorSpec(shape=(), dtype="int64"),
            },
            outputs=(len(target.classes),),
        ),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays(
            {"x": x, "edges": pairs, "y": classes, "classes": np.asarray(target.classes)}
            | {name: indices[name] for name in SPLITS}
        ),
        summary={
            "samples": indices.sizes(),
            "task": "classification",
            "nodes": len(x),
            "edges": len(edges),
            "features": x.shape[1],
            "classes": class_counts(target, classes[held]),
        },
        class_weights=balanced_weights(config.class_weights, classes[train], len(target.classes)),
        input_example=_example(x, pairs, train[:_EXAMPLE_NODES]),
    )


def _labelled(labels: NDArray[Any]) -> Indices:
    """Nodes with a label: -1, NaN and the empty text mean that there is none."""
    texts = label_texts(labels.reshape(-1).tolist())
    return as_int64([node for node, text in enumerate(texts) if text not in {None, "", "-1"}])


def _given_split(arrays: Mapping[str, NDArray[Any]], classes: NDArray[np.int64]) -> SplitIndices | None:
    """The split that the file has: a mask or node numbers for each of train, val and test, or nothing."""
    found = {name: arrays.get(name, arrays.get(f"{name}_mask")) for name in SPLITS}
    absent = [name for name in SPLITS if found[name] is None]
    if len(absent) == len(SPLITS):
        return None
    if absent:
        raise DataError(f"the file has no `{absent[0]}`; give all of {', '.join(SPLITS)}, or none of them", key=_KEY)
    nodes: dict[str, Indices] = {}
    taken = np.full(len(classes), "", dtype=object)
    for name, given in found.items():
        nodes[name] = np.sort(_nodes_of(name, np.asarray(given), len(classes)))
        for node in nodes[name].tolist():
            if taken[node]:
                raise DataError(f"node {node} is in `{taken[node]}` and in `{name}`; a node is in one split", key=_KEY)
            if classes[node] < 0:
                raise DataError(f"node {node} is in `{name}` and has no label in `y`", key=_KEY)
            taken[node] = name
        if not len(nodes[name]):
            raise DataError(f"`{name}` holds no node", key=_KEY)
    return SplitIndices(train=nodes["train"], val=nodes["val"], test=nodes["test"])


def _nodes_of(name: str, given: NDArray[Any], nodes: int) -> Indices:
    if given.dtype.kind != "b":
        return node_numbers(name, given, nodes=nodes, key=_KEY)
    if given.shape != (nodes,):
        raise DataError(
            f"the mask `{name}` is {list(given.shape)}; wanted one value for each node, [{nodes}]", key=_KEY
        )
    return as_int64(np.flatnonzero(given))


def _example(x: NDArray[Any], edges: NDArray[np.int64], nodes: Indices) -> dict[str, NDArray[Any]]:
    """A small graph as a user would give it: some nodes, what they are linked to, and the edges among them."""
    linked = edges[np.isin(edges[:, 0], nodes) | np.isin(edges[:, 1], nodes)]
    among = np.union1d(nodes, linked)
    inside = edges[np.isin(edges, among).all(axis=1)]
    return {"x": x[among].astype(np.float32), "edge_index": np.searchsorted(among, inside).T}
