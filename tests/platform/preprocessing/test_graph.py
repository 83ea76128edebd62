"""Graphs: encoding, normalisation, sparse features, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, GraphPreprocessing, load_preprocessing
from forgeline.preprocessing.graph import node_features

X = np.asarray([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [2.0, -2.0, 4.0], [0.0, 5.0, 0.0]])
EDGES = np.asarray([[0, 1, 1, 3], [1, 0, 2, 2]])


def preprocessing(**changes: Any) -> GraphPreprocessing:
    return GraphPreprocessing(features=3, target=ClassTarget.fit("y", ["a", "b"]), **changes)


def test_encode() -> None:
    arrays = preprocessing().encode({"x": X, "edge_index": EDGES, "nodes": [3, 0]})
    assert {name: str(array.dtype) for name, array in arrays.items()} == {
        "features": "float32",
        "edges": "int64",
        "seeds": "int64",
    }
    assert arrays["features"].tolist() == X.tolist()
    assert arrays["edges"].tolist() == EDGES.T.tolist()
    assert arrays["seeds"].tolist() == [3, 0]


def test_without_nodes_all_are_meant() -> None:
    assert preprocessing().encode({"x": X, "edge_index": EDGES})["seeds"].tolist() == [0, 1, 2, 3]


def test_pairs_are_what_a_model_of_links_is_asked() -> None:
    links, graph = preprocessing(answers="links"), {"x": X, "edge_index": EDGES}
    assert links.encode(graph | {"pairs": [[0, 3], [2, 1]]})["seeds"].tolist() == [[0, 2], [3, 1]]
    assert links.row_labels(graph | {"pairs": [[0, 3], [2, 1]]}).to_dict("list") == {"node": [0, 3], "other": [2, 1]}
    assert [column["name"] for column in links.schema()["inputs"]] == ["x", "edge_index", "pairs"]
    with pytest.raises(DataError, match="no array `pairs`; wanted the pairs of nodes"):
        links.encode(graph)
    with pytest.raises(DataError, match="`pairs` names node 9; allowed: 0 to 3"):
        links.encode(graph | {"pairs": [[0], [9]]})


def test_normalised_rows_sum_to_one_and_empty_ones_stay() -> None:
    features = preprocessing(normalise_rows=True).encode({"x": X, "edge_index": EDGES})["features"]
    assert np.abs(features).sum(axis=1).tolist() == [1.0, 0.0, 1.0, 1.0]
    assert features[2].tolist() == [0.25, -0.25, 0.5]
    assert X[0].tolist() == [1.0, 3.0, 0.0], "the user's own array is left alone"


def test_normalisation_leaves_the_users_float32_alone() -> None:
    given = X.astype(np.float32)
    preprocessing(normalise_rows=True).encode({"x": given, "edge_index": EDGES})
    assert np.array_equal(given, X.astype(np.float32))


def test_undirected_edges_go_both_ways_once() -> None:
    edges = preprocessing(undirected=True).encode({"x": X, "edge_index": EDGES})["edges"]
    assert edges.tolist() == [[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2]]


def test_a_graph_without_edges() -> None:
    arrays = preprocessing().encode({"x": X, "edge_index": np.zeros((2, 0))})
    assert arrays["edges"].shape == (0, 2) and arrays["edges"].dtype == np.int64


def test_sparse_features_are_the_dense_ones() -> None:
    sparse = {
        "x_data": np.asarray([1.0, 3.0, 2.0, -2.0, 4.0, 5.0]),
        "x_indices": np.asarray([0, 1, 0, 1, 2, 1]),
        "x_indptr": np.asarray([0, 2, 2, 5, 6]),
        "x_shape": np.asarray([4, 3]),
    }
    assert np.array_equal(node_features(sparse), X)
    for name, value in (("x_indptr", [0, 2, 2, 5, 7]), ("x_indices", [0, 1, 0, 1, 3, 1]), ("x_shape", [5, 3])):
        with pytest.raises(DataError, match="do not fit each other"):
            node_features({**sparse, name: np.asarray(value)})


def test_read_takes_what_encode_needs(tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", x=X, edge_index=EDGES, nodes=np.asarray([2]), y=np.zeros(4))
    raw = preprocessing().read(tmp_path / "g.npz")
    assert set(raw) == {"x", "edge_index", "nodes"}
    assert preprocessing().row_labels(raw)["node"].tolist() == [2]
    (tmp_path / "g.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"g\.csv` is not a graph; allowed: \.npz"):
        preprocessing().read(tmp_path / "g.csv")


def test_json_and_back() -> None:
    first = preprocessing(normalise_rows=True, undirected=True)
    assert load_preprocessing(first.model_dump_json()) == first
    assert [tensor["name"] for tensor in first.schema()["inputs"]] == ["x", "edge_index"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:, :2]}, "2 features per node; the model takes 3"),
        ({"x": X[0]}, r"`x` is float64 \[3\]; allowed: numbers \[nodes, features\]"),
        ({"x": np.where(X == 5, np.nan, X)}, "`x` is nan at node 3, feature 1"),
        ({"edge_index": EDGES.T}, r"`edge_index` is int64 \[4, 2\]; allowed: whole numbers \[2, edges\]"),
        ({"edge_index": EDGES + 0.5}, "allowed: whole numbers"),
        ({"edge_index": EDGES + 1}, "`edge_index` names node 4; allowed: 0 to 3"),
        ({"nodes": [-1]}, "`nodes` names node -1; allowed: 0 to 3"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        preprocessing().encode({"x": X, "edge_index": EDGES, **change})


def test_something_else_than_a_graph() -> None:
    with pytest.raises(DataError, match="got ndarray; a graph has the arrays `x` and `edge_index`"):
        preprocessing().encode(X)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="got x; a graph has"):
        preprocessing().encode({"x": X})
