"""Cora and a user's own graph: splits, batches with and without sampling, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeline.errors import DataError
from forgeline_jobs.data import sources
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.loader import eval_loader, train_loader

NODES = 30


def cora(**settings: Any) -> PreparedData:
    return sources.CORA.prepare(sources.CORA.config_model().model_validate({"name": "cora", **settings}))


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    whole = {
        "x": rng.random((NODES, 4)),
        "edge_index": rng.integers(0, NODES, (2, 80)),
        "y": np.asarray(["cat", "dog", "owl"] * 10),
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def own(folder: Path, settings: dict[str, Any] | None = None, **changes: Any) -> PreparedData:
    np.savez(folder / "graph.npz", **arrays(**changes))
    config = {"name": "graph", "path": str(folder / "graph.npz"), **(settings or {})}
    return sources.GRAPH.prepare(sources.GRAPH.config_model().model_validate(config))


def nodes_of(data: PreparedData, name: str) -> list[int]:
    split = data.splits[name]
    return split.batch(np.arange(len(split)))["seeds"].tolist()  # type: ignore[no-any-return]


class TestCora:
    def test_the_published_graph_and_split(self) -> None:
        data = cora()
        assert data.summary["samples"] == {"train": 140, "val": 500, "test": 1000}
        assert (data.summary["nodes"], data.summary["edges"], data.summary["features"]) == (2708, 10_556, 1433)
        batch = data.splits["train"].batch(np.arange(140))
        assert batch["features"].shape == (2708, 1433) and batch["edges"].shape == (10_556, 2)
        assert np.bincount(batch["target"]).tolist() == [20] * 7, "20 papers of each subject"
        totals = batch["features"].sum(axis=1)
        assert np.allclose(totals[totals > 0], 1.0, atol=1e-5)
        pairs = {(a, b) for a, b in batch["edges"].tolist()}
        assert all((b, a) in pairs for a, b in pairs), "each citation is there both ways"
        apart = [set(nodes_of(data, name)) for name in SPLITS]
        assert not apart[0] & apart[1] and not apart[1] & apart[2] and not apart[0] & apart[2]

    def test_neighbours_are_drawn_in_training_alone(self) -> None:
        data = cora(fanout=[5, 5], batch_size=20)
        batch = next(iter(train_loader(data.splits["train"], 20)))
        assert 20 < len(batch["features"]) < 2708 and len(batch["seeds"]) == 20
        whole = cora().splits["train"].batch(np.arange(140))
        # The rows that the seeds point to are those of their own nodes, with their own classes.
        order = next(iter(train_loader(data.splits["train"], 20).sampler))[0]
        assert np.array_equal(batch["features"][batch["seeds"]].numpy(), whole["features"][whole["seeds"][order]])
        assert batch["target"].tolist() == whole["target"][order].tolist()
        for split in ("val", "test"):
            assert all(len(part["features"]) == 2708 for part in eval_loader(data.splits[split], 500))

    def test_an_epoch_draws_anew_and_a_second_time_the_same(self) -> None:
        split = cora(fanout=[2]).splits["train"]
        first, again, later = (split.batch(np.arange(140), keys) for keys in ((0, 0), (0, 0), (0, 1)))
        assert all(np.array_equal(first[name], again[name]) for name in first)
        assert first["edges"].shape != later["edges"].shape or not np.array_equal(first["edges"], later["edges"])


class TestOwn:
    def test_a_random_split_is_of_each_class(self, tmp_path: Path) -> None:
        data = own(tmp_path)
        assert data.summary["samples"] == {"train": 21, "val": 3, "test": 6}
        assert sorted(sum((nodes_of(data, name) for name in SPLITS), [])) == list(range(NODES))
        assert data.preprocessing.classes == ("cat", "dog", "owl")

    @pytest.mark.parametrize("form", ["numbers", "masks"])
    def test_the_file_may_say_the_split(self, tmp_path: Path, form: str) -> None:
        wanted = {"train": [9, 3, 4, 5], "val": [0], "test": [7, 8]}
        given: dict[str, Any] = {name: np.asarray(nodes) for name, nodes in wanted.items()}
        if form == "masks":
            given = {f"{name}_mask": np.isin(np.arange(NODES), nodes) for name, nodes in wanted.items()}
        data = own(tmp_path, **given)
        assert {name: nodes_of(data, name) for name in SPLITS} == {n: sorted(v) for n, v in wanted.items()}
        target = data.splits["train"].batch(np.arange(4))["target"].tolist()
        assert target == [node % 3 for node in (3, 4, 5, 9)]

    @pytest.mark.parametrize("none", [-1, np.nan, ""])
    def test_nodes_without_a_label_are_in_no_split(self, tmp_path: Path, none: Any) -> None:
        labels = np.asarray(["cat", "dog", "owl"] * 10) if none == "" else np.arange(NODES) % 3
        labels = labels.astype(float) if none != none else labels
        labels[[4, 6]] = none
        data = own(tmp_path, y=labels)
        assert {4, 6} & set(sum((nodes_of(data, name) for name in SPLITS), [])) == set()
        assert len(data.preprocessing.classes or ()) == 3

    def test_settings_reach_the_graph(self, tmp_path: Path) -> None:
        edges = np.asarray([[0], [1]])
        data = own(
            tmp_path, {"undirected": True, "normalise_rows": True, "class_weights": "balanced"}, edge_index=edges
        )
        batch = data.splits["val"].batch(np.arange(1))
        assert batch["edges"].tolist() == [[0, 1], [1, 0]]
        assert np.allclose(batch["features"].sum(axis=1), 1.0)
        assert data.class_weights == (1.0, 1.0, 1.0)

    def test_the_fingerprint_is_of_the_content(self, tmp_path: Path) -> None:
        base = own(tmp_path).fingerprint
        assert own(tmp_path).fingerprint == base
        assert own(tmp_path, x=arrays()["x"] + 1).fingerprint != base
        assert own(tmp_path, {"split": {"seed": 1}}).fingerprint != base

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"y": None}, "wanted `x`, `edge_index` and `y`"),
            ({"x": None}, r"wanted `x` \[nodes, features\]"),
            ({"y": np.zeros(4)}, r"`y` is \[4\]; wanted a label for each of the 30 nodes"),
            ({"y": np.zeros(NODES)}, "single class"),
            ({"train": np.asarray([1])}, "has no `val`; give all of train, val, test"),
            ({"train": [1, 2], "val": [2], "test": [3]}, "node 2 is in `train` and in `val`"),
            ({"train": [1, 30], "val": [2], "test": [3]}, "`train` names node 30; allowed: 0 to 29"),
            ({"train": [1], "val": np.zeros(0, dtype=int), "test": [3]}, "`val` holds no node"),
            ({"train": np.ones(4, dtype=bool), "val": [2], "test": [3]}, r"the mask `train` is \[4\]"),
            ({"y": np.r_[-1, np.arange(29) % 3], "train": [0], "val": [1], "test": [2]}, "has no label in `y`"),
            ({"edge_index": np.full((2, 1), 30)}, "`edge_index` names node 30"),
        ],
    )
    def test_what_does_not_fit_is_named_with_the_key(
        self, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(DataError, match=message) as raised:
            own(tmp_path, **changes)
        assert raised.value.key == "data.path"
