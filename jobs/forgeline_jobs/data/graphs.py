"""Collections of graphs with a class each: the user's own in an .npz file, and what built-in ones are prepared by.

A sample is a graph. A batch is one graph that its graphs are parts of, without an edge between them: `members` tells
the graph of each node, and `seeds` which of them are asked about, which is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, GraphPreprocessing
from forgeline.preprocessing.graph import node_features
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
)
from forgeline_jobs.data.checks import balanced_weights, class_counts, class_target
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.graph import graph_file
from forgeline_jobs.data.splits import SplitIndices, stratified_split

_KEY = "data.path"
_EXAMPLE_GRAPHS = 2


class CollectionConfig(DataConfig):
    """Settings of every collection."""

    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")
    split: SplitConfig = Field(default=SplitConfig(), description="How graphs are held out.")


class GraphsConfig(CollectionConfig):
    """Graphs of the user's own."""

    path: str = Field(description="An .npz file with `x`, `edge_index`, `graph`, `y` and, of edges, `edge_attr`.")


class Collection:
    """Encoded graphs, of which some are taken at a time.

    Args:
        arrays: `features` [n, F], `edges` [e, 2], `members` [n] ascending, and `edge_features` [e, G] where there are.
        graphs: how many there are.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], graphs: int) -> None:
        owner = arrays["members"][arrays["edges"][:, 0]]
        order = np.argsort(owner, kind="stable")
        self._features = arrays["features"]
        self._edges = arrays["edges"][order]
        self._edge_features = arrays["edge_features"][order] if "edge_features" in arrays else None
        self._nodes_of = _starts(arrays["members"], graphs)
        self._edges_of = _starts(owner, graphs)

    def take(self, graphs: Indices) -> Batch:
        """The graphs of these numbers, in this order, as parts of one."""
        nodes, members = _ranges(self._nodes_of, graphs)
        edges, owner = _ranges(self._edges_of, graphs)
        sizes = np.diff(self._nodes_of)[graphs]
        shift = np.cumsum(sizes) - sizes - self._nodes_of[graphs]
        batch: Batch = {
            "features": self._features[nodes],
            "edges": self._edges[edges] + shift[owner][:, None],
            "members": members,
            "seeds": np.arange(len(graphs), dtype=np.int64),
        }
        return batch if self._edge_features is None else batch | {"edge_features": self._edge_features[edges]}


class GraphsSplit:
    """Some graphs of a collection, with the class of each."""

    def __init__(self, collection: Collection, graphs: Indices, classes: NDArray[np.int64]) -> None:
        self._collection = collection
        self._graphs = graphs
        self._classes = classes

    def __len__(self) -> int:
        return len(self._graphs)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The graphs at `indices` as parts of one, and `target` [b]; nothing is augmented."""
        return self._collection.take(self._graphs[indices]) | {"target": self._classes[indices]}


def prepare_graphs(config: GraphsConfig) -> PreparedData:
    """Read and prepare a user's graphs.

    Raises:
        DataError: the file or an array is not what the config promises.
    """
    arrays = graph_file(config.path, ("edge_index", "graph", "y"))
    labels = arrays["y"].reshape(-1).tolist()
    target = class_target("y", labels, key=_KEY, where="graph")
    classes = target.encode(labels)
    return prepare_collection(
        arrays, classes, target=target, indices=stratified_split(classes, config.split), config=config
    )


def prepare_collection(
    raw: Mapping[str, NDArray[Any]],
    classes: NDArray[np.int64],
    *,
    target: ClassTarget,
    indices: SplitIndices,
    config: CollectionConfig,
) -> PreparedData:
    """Encode graphs (`x`, `edge_index`, `graph`, and of edges `edge_attr`) that have a class each."""
    kinds = np.asarray(raw["edge_attr"]).shape[-1] if "edge_attr" in raw else 0
    features = node_features(raw, key=_KEY).shape[-1]
    preprocessing = GraphPreprocessing(features=features, edge_features=kinds, answers="graphs", target=target)
    try:
        arrays = preprocessing.encode(raw)
    except DataError as error:
        raise DataError(str(error), key=_KEY) from error
    if len(arrays["seeds"]) != len(classes):
        raise DataError(f"`graph` has {len(arrays['seeds'])} graphs, and `y` {len(classes)} labels", key=_KEY)
    collection = Collection(arrays, len(classes))
    splits: dict[str, Split] = {name: GraphsSplit(collection, indices[name], classes[indices[name]]) for name in SPLITS}
    inputs = {
        "features": TensorSpec(shape=(features,), dtype="float32"),
        "edges": TensorSpec(shape=(2,), dtype="int64"),
        "members": TensorSpec(shape=(), dtype="int64"),
        "seeds": TensorSpec(shape=(), dtype="int64"),
    }
    if kinds:
        inputs["edge_features"] = TensorSpec(shape=(kinds,), dtype="float32")
    held = {name: indices[name] for name in SPLITS}
    return PreparedData(
        signature=Signature(task="classification", inputs=inputs, outputs=(len(target.classes),)),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays(arrays | {"y": classes, "classes": np.asarray(target.classes)} | held),
        summary={
            "samples": indices.sizes(),
            "task": "classification",
            "graphs": len(classes),
            "nodes": len(arrays["features"]),
            "edges": len(arrays["edges"]),
            "features": features,
            "classes": class_counts(target, classes),
        },
        class_weights=balanced_weights(config.class_weights, classes[indices["train"]], len(target.classes)),
        input_example=_example(collection.take(indices["train"][:_EXAMPLE_GRAPHS])),
    )


def _starts(owner: NDArray[np.int64], graphs: int) -> Indices:
    """Where the rows of each graph begin, and where those of the last end."""
    starts: Indices = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=graphs))]).astype(np.int64)
    return starts


def _ranges(starts: Indices, chosen: Indices) -> tuple[Indices, Indices]:
    """The rows of each chosen graph, one after the other, and which of the chosen each of them is of."""
    sizes = np.diff(starts)[chosen]
    part = np.repeat(np.arange(len(chosen)), sizes)
    rows = np.arange(len(part)) - (np.cumsum(sizes) - sizes)[part] + starts[chosen][part]
    return rows, part


def _example(batch: Batch) -> dict[str, NDArray[Any]]:
    """Some graphs as a user would give them."""
    raw = {"x": batch["features"], "edge_index": batch["edges"].T, "graph": batch["members"]}
    return raw | {"edge_attr": batch["edge_features"]} if "edge_features" in batch else raw
