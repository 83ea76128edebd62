"""Collections of graphs: batches of any of them, the digits as graphs, a user's own, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeline.errors import DataError
from forgeline_jobs.data import sources
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.builtin_digit_graphs import STEPS, pixel_graphs

SIZES = [3, 1, 4, 2] * 5


def arrays(**changes: Any) -> dict[str, Any]:
    """Twenty paths of one to four nodes; a node's features are its graph and its place there, an edge's its start."""
    graph = np.repeat(np.arange(len(SIZES)), SIZES)
    place = np.concatenate([np.arange(size) for size in SIZES])
    start = np.flatnonzero(np.diff(graph) == 0)
    whole = {
        "x": np.stack([graph, place], axis=1).astype(float),
        "edge_index": np.stack([start, start + 1])[:, ::-1],
        "edge_attr": start[::-1, None].astype(float),
        "graph": graph,
        "y": np.asarray(["odd", "even"] * 10),
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def own(folder: Path, settings: dict[str, Any] | None = None, **changes: Any) -> PreparedData:
    np.savez(folder / "graphs.npz", **arrays(**changes))
    config = {"name": "graphs", "path": str(folder / "graphs.npz"), **(settings or {})}
    return sources.GRAPHS.prepare(sources.GRAPHS.config_model().model_validate(config))


def test_a_batch_has_its_graphs_beside_each_other(tmp_path: Path) -> None:
    data = own(tmp_path)
    batch = data.splits["train"].batch(np.asarray([5, 0, 3]))
    named = [int(batch["features"][batch["members"] == graph][0, 0]) for graph in range(3)]
    assert batch["members"].tolist() == np.repeat(np.arange(3), [SIZES[graph] for graph in named]).tolist()
    assert batch["seeds"].tolist() == [0, 1, 2]
    assert batch["target"].tolist() == [int(graph % 2 == 0) for graph in named]  # classes: even, odd
    for source, to in batch["edges"]:
        first, second = batch["features"][source], batch["features"][to]
        assert first[0] == second[0] and second[1] == first[1] + 1
    starts = np.concatenate([[0], np.cumsum(SIZES)])
    expected = [starts[int(batch["features"][s, 0])] + batch["features"][s, 1] for s, _ in batch["edges"]]
    assert batch["edge_features"][:, 0].tolist() == expected
    assert len(batch["edges"]) == sum(SIZES[graph] - 1 for graph in named)


def test_every_graph_is_in_one_split(tmp_path: Path) -> None:
    data = own(tmp_path, {"class_weights": "balanced"})
    found: list[int] = []
    for name in SPLITS:
        split = data.splits[name]
        batch = split.batch(np.arange(len(split)))
        found += np.unique(batch["features"][:, 0]).astype(int).tolist()
    assert sorted(found) == list(range(20)) and data.class_weights == (1.0, 1.0)
    assert data.summary["graphs"] == 20 and data.summary["nodes"] == sum(SIZES)


def test_edges_without_features(tmp_path: Path) -> None:
    data = own(tmp_path, edge_attr=None)
    assert "edge_features" not in data.signature.inputs
    assert "edge_features" not in data.splits["val"].batch(np.arange(1))


def test_a_picture_becomes_the_graph_of_its_ink() -> None:
    picture = np.asarray([[0, 4, 0], [2, 0, 0], [0, 0, 1]])
    found = pixel_graphs(np.stack([picture, np.eye(3)]))
    assert found["graph"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["x"][:3].tolist() == [[1.0, 0.0, 0.5], [0.5, 0.5, 0.0], [0.25, 1.0, 1.0]]
    steps = {
        (int(source), int(to)): STEPS[kind.argmax()]
        for (source, to), kind in zip(found["edge_index"].T, found["edge_attr"], strict=True)
    }
    # From each pixel its neighbour lies where the edge says; 0 and 1 of the first picture touch at a corner.
    assert steps == {
        (1, 0): (1, -1),
        (0, 1): (-1, 1),
        (4, 3): (1, 1),
        (3, 4): (-1, -1),
        (5, 4): (1, 1),
        (4, 5): (-1, -1),
    }


def test_the_digits() -> None:
    data = sources.DIGIT_GRAPHS.prepare(sources.DIGIT_GRAPHS.config_model().model_validate({"name": "digit-graphs"}))
    assert data.summary["graphs"] == 1797 and sum(data.summary["samples"].values()) == 1797
    assert data.signature.outputs == (10,) and data.signature.inputs["edge_features"].shape == (8,)
    assert data.input_example["graph"].max() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph": None}, "wanted `x`, `edge_index`, `graph` and `y`"),
        ({"y": np.arange(8) % 2}, "has 20 graphs, and `y` 8 labels"),
        ({"graph": np.zeros(3, dtype=int)}, r"`graph` is int64 \[3\]; wanted whole numbers, for each of 50 nodes"),
        ({"graph": np.repeat(np.arange(20), SIZES)[::-1]}, "`graph` is 19 at node 0; graphs are numbered from 0"),
        ({"graph": np.repeat(np.arange(20), SIZES) + 1}, "`graph` is 1 at node 0; graphs are numbered from 0"),
        ({"edge_index": np.asarray([[0], [3]]), "edge_attr": np.ones((1, 1))}, "from node 0 to node 3, which is of an"),
        ({"edge_attr": np.ones((2, 1))}, r"`edge_attr` is float64 \[2, 1\]; wanted finite numbers \[30, 1\]"),
        ({"y": np.zeros(20)}, "single class"),
    ],
)
def test_what_does_not_fit_is_named_with_the_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        own(tmp_path, **changes)
    assert raised.value.key == "data.path"
