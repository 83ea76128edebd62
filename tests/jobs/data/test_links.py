"""Links of a graph: what is held out, what training draws, along which links messages go, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline_jobs.data import sources
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.links import UnlinkedPairs

NODES = 40


def ring() -> NDArray[np.int64]:
    """Each node linked to the next three."""
    ends = np.arange(NODES)
    return np.concatenate([np.stack([ends, (ends + step) % NODES]) for step in (1, 2, 3)], axis=1)


def own(folder: Path, edges: NDArray[np.int64] | None = None, **settings: Any) -> PreparedData:
    x = np.random.default_rng(0).random((NODES, 4))
    np.savez(folder / "graph.npz", x=x, edge_index=ring() if edges is None else edges)
    config = {"name": "graph", "path": str(folder / "graph.npz"), "predict": "links", "undirected": True, **settings}
    return sources.GRAPH.prepare(sources.GRAPH.config_model().model_validate(config))


def whole(data: PreparedData, name: str, keys: tuple[int, int] | None = None) -> dict[str, NDArray[Any]]:
    split = data.splits[name]  # type: ignore[index]
    return split.batch(np.arange(len(split)), keys)


def links(batch: dict[str, NDArray[Any]], linked: int = 1) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in batch["seeds"][batch["target"] == linked].tolist()}


def test_cora_is_held_out_as_published() -> None:
    settings = {"name": "cora", "predict": "links"}
    data = sources.CORA.prepare(sources.CORA.config_model().model_validate(settings))
    assert data.summary["samples"] == {"train": 4486, "val": 2 * 264, "test": 2 * 528}
    assert data.summary["links"] == 5278
    train = whole(data, "train")
    assert train["edges"].shape == (2 * 4486, 2) and train["seeds"].shape == (2 * 4486, 2)
    assert data.signature.inputs["seeds"].shape == (2,) and data.signature.outputs == (2,)
    assert data.preprocessing.classes == ("False", "True")


def test_every_link_is_in_one_split_and_messages_go_along_those_of_train(tmp_path: Path) -> None:
    data = own(tmp_path, links={"val": 0.1, "test": 0.2})
    train, val, test = (whole(data, name) for name in ("train", "val", "test"))
    given = {frozenset(pair) for pair in ring().T.tolist()}
    assert links(train) | links(val) | links(test) == given
    assert [len(links(batch)) for batch in (train, val, test)] == [84, 12, 24]
    for batch in (train, val, test):
        assert {frozenset(pair) for pair in batch["edges"].tolist()} == links(train)
        assert len(batch["edges"]) == 2 * 84, "both ways"
    for batch in (val, test):
        assert not links(batch, 0) & given and (batch["target"] == 0).sum() == (batch["target"] == 1).sum()
    assert not links(train, 0) & links(train)


def test_an_epoch_draws_anew_and_a_second_time_the_same(tmp_path: Path) -> None:
    data = own(tmp_path)
    first, again, later = (whole(data, "train", keys) for keys in ((0, 0), (0, 0), (0, 1)))
    assert np.array_equal(first["seeds"], again["seeds"]) and not np.array_equal(first["seeds"], later["seeds"])
    count = len(data.splits["train"])
    alone = data.splits["train"].batch(np.asarray([7]), (0, 0))
    assert alone["seeds"].tolist() == [first["seeds"][7].tolist(), first["seeds"][count + 7].tolist()]
    assert alone["target"].tolist() == [1, 0]
    assert np.array_equal(whole(data, "val")["seeds"], whole(data, "val")["seeds"])


def test_neighbours_are_drawn_in_training_alone(tmp_path: Path) -> None:
    data = own(tmp_path, fanout=[2])
    indices = np.asarray([3, 20])
    part, everything = (data.splits["train"].batch(indices, keys) for keys in ((0, 0), None))
    assert len(part["features"]) < NODES == len(everything["features"])
    assert np.array_equal(part["features"][part["seeds"]], everything["features"][everything["seeds"]])
    assert len(whole(data, "val")["features"]) == NODES


def test_pairs_that_are_not_linked_are_drawn_equally_often() -> None:
    known = np.asarray([[0, 1], [1, 2]])
    drawn = UnlinkedPairs(known, 4).draw(np.arange(8000), (1, 2))
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert found.tolist() == [[0, 2], [0, 3], [1, 3], [2, 3]]
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(8000 * 0.25 * 0.75)


def test_the_fingerprint_is_of_content_and_split(tmp_path: Path) -> None:
    base = own(tmp_path).fingerprint
    assert own(tmp_path).fingerprint == base
    assert own(tmp_path, links={"val": 0.05, "test": 0.1, "seed": 1}).fingerprint != base
    assert own(tmp_path, ring()[:, 1:]).fingerprint != base


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="undirected is false.*set undirected to true") as raised:
        own(tmp_path, undirected=False)
    assert raised.value.key == "data.undirected"
    with pytest.raises(ValueError, match="class_weights are for predict nodes"):
        own(tmp_path, class_weights="balanced")
    all_pairs = np.stack(np.triu_indices(NODES, 1))
    with pytest.raises(DataError, match="almost all nodes are linked"):
        own(tmp_path, all_pairs)
