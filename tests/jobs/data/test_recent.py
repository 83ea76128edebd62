"""Labelled samples of a deployment beside the original data: what is trained on, and what is held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.errors import DataError
from forgeline.preprocessing.recent import sides, write_images, write_rows
from forgeline.spec.loading import load
from forgeline_jobs.data.builtin_images import read_mnist5k
from forgeline_jobs.train.preparation import prepare

IDS = [f"request-{number}" for number in range(200)]
WriteTable = Callable[[pd.DataFrame], Path]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "customers.csv"
    rows(0, 300).to_csv(path, index=False)
    return path


def rows(seed: int, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "usage": rng.normal(size=count),
            "plan": rng.choice(["basic", "pro"], count),
            "note": rng.integers(0, 9, count),
            "churned": rng.choice(["no", "yes"], count),
        }
    )


def prepared(data: dict[str, Any], **recent: Any) -> Any:
    spec: Any = load(
        {
            "kind": "train",
            "name": "t",
            "architecture": {"name": "mlp" if "target" in data else "lenet"},
            "data": data | ({"recent": recent} if recent else {}),
        }
    ).spec
    return prepare(spec.data)


def test_a_sample_stays_on_its_side_and_the_shares_are_those_asked_for() -> None:
    many = [str(number) for number in range(20_000)]
    first, again = sides(many, val=0.2, test=0.1), sides(many[::-1], val=0.2, test=0.1)[::-1]
    assert (first == again).all()
    shares = {name: float((first == name).mean()) for name in ("train", "val", "test")}
    # Four standard deviations of a share of 20,000.
    assert shares == pytest.approx({"train": 0.7, "val": 0.2, "test": 0.1}, abs=4 * (0.25 / 20_000) ** 0.5)


def test_original_rows_keep_their_split_and_recent_ones_stand_behind(table: Path, tmp_path: Path) -> None:
    data = {"name": "tabular", "path": str(table), "target": "churned", "drop": ["note"]}
    before = prepared(data)
    recent = rows(1, 200).assign(usage=lambda frame: frame["usage"] + 100.0)
    write_rows(tmp_path / "recent.parquet", recent.drop(columns="note"), IDS)
    after = prepared(data, path=str(tmp_path / "recent.parquet"))
    side = sides(IDS, val=0.2, test=0.2)
    for name in ("train", "val", "test"):
        old, new = len(before.splits[name]), len(after.splits[name])
        assert new - old == (side == name).sum()
        # Recent rows are those far off: none of them took the place of an original one.
        batch = after.splits[name].batch(np.arange(new))
        usage = batch["numeric"][:, 0] * after.preprocessing.numeric[0].std + after.preprocessing.numeric[0].mean
        assert (usage[:old] < 50).all() and (usage[old:] > 50).all()
    assert before.fingerprint != after.fingerprint
    alone = prepared(data, path=str(tmp_path / "recent.parquet"), held_out="recent")
    assert len(alone.splits["val"]) == (side == "val").sum()
    assert len(alone.splits["train"]) == len(after.splits["train"])


def test_built_in_tables_take_recent_rows(tmp_path: Path) -> None:
    from sklearn.datasets import load_wine

    bunch = load_wine(as_frame=True)
    recent = bunch.data.rename(columns=lambda name: name.replace(" ", "_")).head(178)
    recent = recent.assign(grower=[str(bunch.target_names[c]) for c in bunch.target])
    write_rows(tmp_path / "recent.parquet", recent, IDS[:178])
    data = prepared({"name": "wine"}, path=str(tmp_path / "recent.parquet"))
    assert sum(data.summary["samples"].values()) == 2 * 178


def test_images_take_recent_ones_in_the_same_units(tmp_path: Path) -> None:
    pixels, classes, _ = read_mnist5k()
    write_images(tmp_path / "recent.npz", 255 - pixels[:200, ..., 0], classes[:200], IDS)
    data = prepared({"name": "mnist5k"}, path=str(tmp_path / "recent.npz"))
    side = sides(IDS, val=0.2, test=0.2)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [
        size + (side == name).sum() for name, size in (("train", 3600), ("val", 400), ("test", 1000))
    ]
    last = data.splits["val"].batch(np.asarray([len(data.splits["val"]) - 1]))
    assert last["target"][0] == classes[:200][side == "val"][-1]


def test_wrong_samples_are_told(table: Path, tmp_path: Path) -> None:
    data = {"name": "tabular", "path": str(table), "target": "churned"}
    path = tmp_path / "recent.parquet"
    with pytest.raises(DataError, match="does not exist"):
        prepared(data, path=str(path))
    rows(1, 200).to_parquet(path)
    with pytest.raises(DataError, match="forgeline_request"):
        prepared(data, path=str(path))
    write_rows(path, rows(1, 200).drop(columns="plan"), IDS)
    with pytest.raises(DataError, match="there is no column 'plan'"):
        prepared(data, path=str(path))
    write_rows(path, rows(1, 200).assign(usage="much"), IDS)
    with pytest.raises(DataError, match="'much' and was a column of numbers"):
        prepared(data, path=str(path))
    write_rows(path, rows(1, 2), ["a", "c"])
    with pytest.raises(DataError, match="without any"):
        prepared(data, path=str(path))
    write_images(tmp_path / "recent.npz", np.zeros((200, 8, 8), np.uint8), ["1"] * 200, IDS)
    with pytest.raises(DataError, match=r"\[8, 8, 1\] of uint8; the original ones are \[28, 28, 1\]"):
        prepared({"name": "mnist5k"}, path=str(tmp_path / "recent.npz"))
    write_images(tmp_path / "recent.npz", np.zeros((200, 28, 28), np.uint8), ["x"] * 200, IDS)
    with pytest.raises(DataError, match="'x'"):
        prepared({"name": "mnist5k"}, path=str(tmp_path / "recent.npz"))
