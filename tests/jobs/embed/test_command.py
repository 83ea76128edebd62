"""`forgeline embed`: from a file to embeddings, from embeddings to the nearest, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.cli.app import main
from forgeline_jobs.embed import EmbeddingIndex


@pytest.fixture
def wines(tmp_path: Path) -> Path:
    from sklearn.datasets import load_wine

    frame = load_wine(as_frame=True).data.head(12)
    frame = frame.rename(columns=lambda name: str(name).replace(" ", "_")).assign(bottle=[f"b{n}" for n in range(12)])
    path: Path = tmp_path / "wines.csv"
    frame.to_csv(path, index=False)
    return path


def embed(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["embed", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_nearest_of_a_sample_among_embedded_ones_is_itself(
    wine_bundle: Path, wines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "index.parquet"
    assert embed(wine_bundle, wines, "--output", index, "--keep", "bottle") == 0
    assert "wrote 12 embeddings" in capsys.readouterr().err
    stored = EmbeddingIndex.read(index)
    np.testing.assert_allclose(stored.vectors, Bundle.load(wine_bundle).embed(wines), atol=1e-5)
    found = tmp_path / "found.json"
    assert embed(wine_bundle, wines, "--nearest", index, "--k", 3, "--metric", "euclidean", "--output", found) == 0
    table = pd.DataFrame(json.loads(found.read_text()))
    assert list(table.columns) == ["row", "rank", "distance", "neighbour[row]", "neighbour[bottle]"]
    assert len(table) == 36 and table["rank"].tolist() == [1, 2, 3] * 12
    first = table[table["rank"] == 1]
    assert first["neighbour[bottle]"].tolist() == [f"b{n}" for n in range(12)]
    assert first["distance"].max() < 1e-3
    capsys.readouterr()
    assert embed(wine_bundle, wines, "--nearest", index, "--k", 1, "--keep", "bottle") == 0
    assert "similarity" in capsys.readouterr().out


def test_an_index_of_another_model_is_refused(
    wine_bundle: Path, wines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(wine_bundle, other)
    manifest = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps({**manifest, "run_id": "another"}))
    assert embed(other, wines, "--output", tmp_path / "index.parquet") == 0
    assert embed(wine_bundle, wines, "--nearest", tmp_path / "index.parquet") == 2
    assert "was made by another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --output FILE.parquet for the embeddings, or --nearest INDEX"),
        (["--output", "x.csv"], "give --output FILE.parquet for the embeddings, or --nearest INDEX"),
        (["--nearest", "nowhere.parquet"], "--nearest: nowhere.parquet does not exist"),
        (["--output", "no/such/x.parquet"], "the folder 'no/such' does not exist"),
        (["--output", "x.parquet", "--keep", "bottel"], "bottel"),
    ],
)
def test_wrong_use_is_refused(
    wine_bundle: Path,
    wines: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert embed(wine_bundle, wines, *arguments) == 2
    assert message in capsys.readouterr().err
