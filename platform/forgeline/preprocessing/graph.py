"""Graphs: features per node, edges between them, and the nodes, pairs of nodes or graphs that are asked about.

A graph is one thing: its nodes are no samples that could be encoded one by one, since each is read with its
neighbours. So the arrays differ in length, and only `seeds` has one entry per sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.reading import existing, read_arrays

if TYPE_CHECKING:
    import pandas as pd

# How a sparse matrix is stored beside dense `x`: the three arrays of compressed rows, and the shape.
SPARSE = ("x_data", "x_indices", "x_indptr", "x_shape")

# The array that says what is asked about, by what a model answers.
ASKED = {"nodes": "nodes", "links": "pairs", "graphs": "graph"}


class GraphPreprocessing(FittedPreprocessing):
    """`features` [n, F] float32, `edges` [e, 2] int64 (from, to), and `seeds` int64: what to answer for.

    Seeds are nodes [b], pairs of nodes [b, 2] where `answers` is about links, or the numbers of whole graphs [b], with
    `members` [n] int64, ascending: the graph of each node. Edges may have `edge_features` [e, G] float32.
    """

    kind: Literal["graph"] = "graph"
    features: int = Field(ge=1)
    normalise_rows: bool = False
    undirected: bool = False
    answers: Literal["nodes", "links", "graphs"] = "nodes"
    edge_features: int = Field(default=0, ge=0)

    def encode(self, raw: Mapping[str, Any]) -> Arrays:
        """`x` [n, F], `edge_index` [2, e] and `nodes` [b] (all where left out) or `pairs` [2, b] -> the model's inputs.

        Raises:
            DataError: an array is not there, or does not fit the others or the model.
        """
        if not isinstance(raw, Mapping) or "edge_index" not in raw:
            has = ", ".join(sorted(map(str, raw))) if isinstance(raw, Mapping) else type(raw).__name__
            raise DataError(f"got {has or 'nothing'}; a graph has the arrays `x` and `edge_index`, by name")
        x = node_features(raw)
        if x.shape[1] != self.features:
            raise DataError(f"`x` has {x.shape[1]} features per node; the model takes {self.features}")
        edges = edge_pairs(raw["edge_index"], nodes=len(x))
        directed = self.directed(edges)
        arrays: Arrays = {"features": self.scaled(x), "edges": directed, "seeds": self._asked(raw, len(x))}
        if self.answers == "graphs":
            arrays["members"] = _members(raw, directed, nodes=len(x))
            arrays["seeds"] = np.arange(arrays["members"][-1] + 1)
        if self.edge_features:
            arrays["edge_features"] = _edge_features(raw, edges=len(edges), wanted=self.edge_features)
        return arrays

    def _asked(self, raw: Mapping[str, Any], nodes: int) -> NDArray[np.int64]:
        if self.answers == "links":
            if raw.get("pairs") is None:
                raise DataError("the graph has no array `pairs`; wanted the pairs of nodes to be told, [2, pairs]")
            return edge_pairs(raw["pairs"], nodes=nodes, name="pairs")
        if raw.get("nodes") is None:
            return np.arange(nodes, dtype=np.int64)
        return node_numbers("nodes", raw["nodes"], nodes=nodes)

    def scaled(self, x_NF: NDArray[Any]) -> NDArray[np.float32]:
        """Features as the model reads them.

        Normalised rows sum to 1 in absolute value, those of nothing but zeros excepted (Kipf & Welling 2017,
        section 5.2, for bags of words).
        """
        values = np.asarray(x_NF, dtype=np.float32)
        if not self.normalise_rows:
            return values
        totals = np.abs(values).sum(axis=1, keepdims=True)
        totals[totals == 0] = 1
        normalised: NDArray[np.float32] = values / totals
        return normalised

    def directed(self, edges_E2: NDArray[np.int64]) -> NDArray[np.int64]:
        """Edges as the model reads them: each one both ways and once, where the graph is undirected."""
        if not self.undirected:
            return edges_E2
        return np.unique(np.concatenate([edges_E2, edges_E2[:, ::-1]]), axis=0)

    def read(self, path: str | Path) -> dict[str, NDArray[Any]]:
        """The arrays of an .npz file that `encode` takes."""
        place = existing(path)
        if place.suffix.lower() != ".npz":
            raise DataError(f"`{place}` is not a graph; allowed: .npz with `x` and `edge_index`")
        arrays = read_arrays(place)
        known = ("x", *SPARSE, "edge_index", "edge_attr", ASKED[self.answers])
        return {name: arrays[name] for name in known if name in arrays}

    def row_labels(self, raw: Any) -> pd.DataFrame:
        """The number of each node or graph, or the numbers of the two of a pair."""
        import pandas as pd

        if self.answers == "links":
            first, second = np.asarray(raw["pairs"])
            return pd.DataFrame({"node": first, "other": second})
        if self.answers == "graphs":
            return pd.DataFrame({"graph": self.encode(raw)["seeds"]})
        nodes = raw.get("nodes")
        return pd.DataFrame({"node": np.arange(len(node_features(raw))) if nodes is None else np.asarray(nodes)})

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """The arrays of a graph, and the columns of a prediction."""
        x = {"name": "x", "type": "tensor", "dtype": "float32", "shape": [-1, self.features]}
        edges = {"name": "edge_index", "type": "tensor", "dtype": "int64", "shape": [2, -1]}
        columns = self.target.columns() if self.target else []
        kinds = {"name": "edge_attr", "type": "tensor", "dtype": "float32", "shape": [-1, self.edge_features]}
        inputs = [x, edges, kinds] if self.edge_features else [x, edges]
        asked = {"nodes": ("node",), "links": ("node", "other"), "graphs": ("graph",)}[self.answers]
        if self.answers == "links":
            inputs.append({"name": "pairs", "type": "tensor", "dtype": "int64", "shape": [2, -1]})
        elif self.answers == "graphs":
            inputs.append({"name": "graph", "type": "tensor", "dtype": "int64", "shape": [-1]})
        outputs = [{"name": name, "type": "long"} for name in asked]
        return {"kind": "graph", "inputs": inputs, "outputs": [*outputs, *columns]}


def node_features(raw: Mapping[str, Any], *, key: str | None = None) -> NDArray[Any]:
    """[n, F] from `x`, or from the parts of a sparse matrix in compressed rows (`x_data`, `x_indices`, …).

    Raises:
        DataError: neither is there, or the values are no finite numbers.
    """
    if "x" in raw:
        x = np.asarray(raw["x"])
    elif all(name in raw for name in SPARSE):
        x = _dense(*(np.asarray(raw[name]) for name in SPARSE), key=key)
    else:
        has = ", ".join(sorted(map(str, raw))) or "nothing"
        raise DataError(f"the graph has {has}; wanted `x` [nodes, features], or {', '.join(SPARSE)}", key=key)
    if x.ndim != 2 or 0 in x.shape or x.dtype.kind not in "buif":
        raise DataError(f"`x` is {x.dtype} {list(x.shape)}; allowed: numbers [nodes, features]", key=key)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        node, feature = np.argwhere(~np.isfinite(x))[0].tolist()
        raise DataError(f"`x` is {x[node, feature]} at node {node}, feature {feature}; wanted finite numbers", key=key)
    return x


def edge_pairs(edge_index: Any, *, nodes: int, key: str | None = None, name: str = "edge_index") -> NDArray[np.int64]:
    """[2, e] node numbers -> [e, 2] (from, to); `name` is what a message calls them.

    Raises:
        DataError: the shape is another, or there is no such node.
    """
    array = np.asarray(edge_index)
    if array.ndim != 2 or array.shape[0] != 2 or (array.size and array.dtype.kind not in "ui"):
        raise DataError(
            f"`{name}` is {array.dtype} {list(array.shape)}; allowed: whole numbers [2, edges], from and to",
            key=key,
        )
    node_numbers(name, array.reshape(-1), nodes=nodes, key=key)
    return np.ascontiguousarray(array.T, dtype=np.int64)


def node_numbers(name: str, numbers: Any, *, nodes: int, key: str | None = None) -> NDArray[np.int64]:
    """[b] numbers of nodes.

    Raises:
        DataError: they are no whole numbers, or there is no such node.
    """
    array = np.asarray(numbers)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "ui"):
        raise DataError(f"`{name}` is {array.dtype} {list(array.shape)}; allowed: whole numbers [n]", key=key)
    outside = array[(array < 0) | (array >= nodes)]
    if len(outside):
        raise DataError(f"`{name}` names node {outside[0]}; allowed: 0 to {nodes - 1}", key=key)
    return array.astype(np.int64)


def _members(raw: Mapping[str, Any], edges: NDArray[np.int64], *, nodes: int) -> NDArray[np.int64]:
    """[n] the graph of each node; one graph where nothing is said.

    Raises:
        DataError: the nodes of a graph are not side by side, a graph has none, or an edge leaves its graph.
    """
    if raw.get("graph") is None:
        return np.zeros(nodes, dtype=np.int64)
    graph = np.asarray(raw["graph"])
    if graph.shape != (nodes,) or graph.dtype.kind not in "ui":
        raise DataError(
            f"`graph` is {graph.dtype} {list(graph.shape)}; wanted whole numbers, for each of {nodes} nodes"
        )
    members: NDArray[np.int64] = graph.astype(np.int64)
    steps = np.diff(members, prepend=-1)
    wrong = np.flatnonzero((steps < 0) | (steps > 1) | ((steps == 0) & (np.arange(nodes) == 0)))
    if len(wrong):
        raise DataError(
            f"`graph` is {members[wrong[0]]} at node {wrong[0]}; graphs are numbered from 0, none is empty, and the "
            "nodes of each stand side by side"
        )
    apart = np.flatnonzero(members[edges[:, 0]] != members[edges[:, 1]])
    if len(apart):
        source, to = edges[apart[0]].tolist()
        raise DataError(f"an edge goes from node {source} to node {to}, which is of another graph")
    return members


def _edge_features(raw: Mapping[str, Any], *, edges: int, wanted: int) -> NDArray[np.float32]:
    """[e, G] from `edge_attr`.

    Raises:
        DataError: it is not there, or does not fit the edges or the model.
    """
    if raw.get("edge_attr") is None:
        raise DataError(f"the graph has no array `edge_attr`; the model takes {wanted} features of each edge")
    values = np.asarray(raw["edge_attr"])
    if values.shape != (edges, wanted) or values.dtype.kind not in "buif" or not np.isfinite(values).all():
        raise DataError(
            f"`edge_attr` is {values.dtype} {list(values.shape)}; wanted finite numbers [{edges}, {wanted}], for each "
            "edge"
        )
    return values.astype(np.float32)


def _dense(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], shape: NDArray[Any], *, key: str | None
) -> NDArray[Any]:
    rows, columns = (int(size) for size in shape) if shape.shape == (2,) else (-1, -1)
    starts = np.asarray(indptr, dtype=np.int64)
    fits = (
        rows > 0
        and starts.shape == (rows + 1,)
        and starts[0] == 0
        and starts[-1] == len(data) == len(indices)
        and (np.diff(starts) >= 0).all()
        and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < columns))
    )
    if not fits:
        raise DataError(f"{', '.join(SPARSE)} do not fit each other; wanted a matrix in compressed rows (CSR)", key=key)
    dense = np.zeros((rows, columns), dtype=data.dtype)
    np.add.at(dense, (np.repeat(np.arange(rows), np.diff(starts)), indices), data)
    return dense
