"""Bundles of graph models: the same answer for a node whatever else is asked, from a file, an array and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.errors import DataError

Graph = dict[str, Any]


def test_one_row_per_node_with_its_number(graph_bundle: Bundle, graph: Graph) -> None:
    table = graph_bundle.predict(graph, device="cpu")
    assert table["node"].tolist() == list(range(12))
    names = [column["name"] for column in graph_bundle.schema["outputs"]]
    assert list(table.columns) == names
    assert np.allclose(table.filter(like="probability[").sum(axis=1), 1.0, atol=1e-5)


def test_the_nodes_that_are_asked_about(graph_bundle: Bundle, graph: Graph) -> None:
    whole = graph_bundle.predict(graph, device="cpu")
    some = graph_bundle.predict(graph | {"nodes": np.asarray([7, 2])}, batch_size=1, device="cpu")
    pd.testing.assert_frame_equal(some, whole.loc[[7, 2]].reset_index(drop=True))


def test_neighbours_count(graph_bundle: Bundle, graph: Graph) -> None:
    lonely = graph_bundle.predict(graph | {"edge_index": np.zeros((2, 0), dtype=np.int64)}, device="cpu")
    assert not np.allclose(lonely["probability[0]"], graph_bundle.predict(graph, device="cpu")["probability[0]"])


def test_a_file_is_read(graph_bundle: Bundle, graph: Graph, tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **graph)
    expected = graph_bundle.predict(graph, device="cpu")
    pd.testing.assert_frame_equal(graph_bundle.predict(tmp_path / "graph.npz", device="cpu"), expected)
    pd.testing.assert_frame_equal(Bundle.load(graph_bundle.folder).predict(str(tmp_path / "graph.npz")), expected)


def test_another_number_of_features_is_refused(graph_bundle: Bundle, graph: Graph) -> None:
    with pytest.raises(DataError, match="4 features per node; the model takes 5"):
        graph_bundle.predict(graph | {"x": graph["x"][:, :4]})


def test_the_reference_is_of_the_nodes_that_were_asked_about(graph_bundle: Bundle, graph: Graph) -> None:
    reference = graph_bundle.reference
    assert reference is not None and reference.samples == 2
    assert set(reference.inputs) == {"neighbours", "features"}
    edges = {frozenset(pair) for pair in graph["edge_index"].T.tolist()}
    degrees = [sum(node in edge for edge in edges) for node in (1, 4)]
    assert reference.inputs["neighbours"].maximum == max(degrees)  # type: ignore[union-attr]
    assert reference.inputs["features"].mean == 5.0  # type: ignore[union-attr]


def test_mlflow_predicts_the_same(graph_bundle: Bundle, graph: Graph, tmp_path: Path) -> None:
    import mlflow

    save_mlflow_model(graph_bundle.folder, tmp_path / "model", graph)
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert model.metadata.signature.inputs.input_names() == ["x", "edge_index"]
    found = model.predict({"x": graph["x"].astype(np.float32), "edge_index": graph["edge_index"]})
    expected = graph_bundle.predict(graph, device="cpu")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


def test_a_bundle_of_links_answers_pairs(links_bundle: Bundle, graph: Graph, tmp_path: Path) -> None:
    asked = graph | {"pairs": np.asarray([[0, 4, 7], [1, 9, 0]])}
    table = links_bundle.predict(asked, device="cpu")
    assert table[["node", "other"]].to_numpy().tolist() == [[0, 1], [4, 9], [7, 0]]
    assert list(table.columns) == [column["name"] for column in links_bundle.schema["outputs"]]
    np.savez(tmp_path / "graph.npz", **asked)
    pd.testing.assert_frame_equal(links_bundle.predict(tmp_path / "graph.npz", device="cpu"), table)
    assert links_bundle.reference is not None and links_bundle.reference.samples == 2
    save_mlflow_model(links_bundle.folder, tmp_path / "model", asked)
    import mlflow

    found = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(asked | {"x": graph["x"].astype(np.float32)})
    pd.testing.assert_frame_equal(found, table, rtol=1e-5)


def test_a_bundle_of_graphs_answers_each(graphs_bundle: Bundle, graphs: Graph, tmp_path: Path) -> None:
    table = graphs_bundle.predict(graphs, device="cpu")
    assert table["graph"].tolist() == [0, 1, 2]
    assert list(table.columns) == [column["name"] for column in graphs_bundle.schema["outputs"]]
    first = {"x": graphs["x"][:2], "edge_index": graphs["edge_index"][:, :1], "edge_attr": graphs["edge_attr"][:1]}
    alone = graphs_bundle.predict(first, device="cpu")
    pd.testing.assert_frame_equal(graphs_bundle.predict(graphs, batch_size=2, device="cpu"), table, rtol=1e-5)
    pd.testing.assert_frame_equal(alone, table.iloc[:1], rtol=1e-5)
    np.savez(tmp_path / "graphs.npz", **graphs)
    pd.testing.assert_frame_equal(graphs_bundle.predict(tmp_path / "graphs.npz", device="cpu"), table)
    reference = graphs_bundle.reference
    assert reference is not None and reference.samples == 3
    assert reference.inputs["nodes"].maximum == 3 and reference.inputs["edges"].mean == 4 / 3  # type: ignore[union-attr]
    assert graphs_bundle.embed(graphs, device="cpu").shape == (3, 4)


def test_mlflow_predicts_graphs(graphs_bundle: Bundle, graphs: Graph, tmp_path: Path) -> None:
    import mlflow

    save_mlflow_model(graphs_bundle.folder, tmp_path / "model", graphs)
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert model.metadata.signature.inputs.input_names() == ["x", "edge_index", "edge_attr", "graph"]
    pd.testing.assert_frame_equal(model.predict(graphs), graphs_bundle.predict(graphs, device="cpu"), rtol=1e-5)


def test_what_a_bundle_of_graphs_refuses(graphs_bundle: Bundle, graphs: Graph) -> None:
    with pytest.raises(DataError, match="no array `edge_attr`; the model takes 2 features of each edge"):
        graphs_bundle.predict({name: array for name, array in graphs.items() if name != "edge_attr"})
    with pytest.raises(DataError, match="of another graph"):
        graphs_bundle.predict(graphs | {"edge_index": np.asarray([[0, 2, 3, 3], [1, 3, 4, 0]])})
