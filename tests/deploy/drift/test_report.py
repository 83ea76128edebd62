"""All columns together: what is found without drift, what is found with it, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from forgeline.bundle import Bundle, Reference
from forgeline.bundle.observation import Observation
from forgeline.distributions import NumericReference
from forgeline.errors import DataError, UsageError
from forgeline.preprocessing import ImagePreprocessing, Preprocessing, TextPreprocessing
from forgeline.preprocessing.tokenization import CharacterTokenizer
from forgeline_deploy.drift import check_data, compare, report

Customers = Callable[[int, int], pd.DataFrame]
COLUMNS = [f"x{number}" for number in range(10)]


def windows(rows: int, *, repetitions: int, shift: float = 0.0, reference_rows: int = 500) -> list[tuple[str, ...]]:
    """What drifted in each of many windows of ten columns, the first shifted, each against a reference of its own."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(repetitions):
        inputs = {name: NumericReference.of(rng.normal(size=reference_rows)) for name in COLUMNS}
        moved = {"x0": shift}
        seen = {name: known.count(rng.normal(size=rows) + moved.get(name, 0.0)) for name, known in inputs.items()}
        reference = Reference(samples=reference_rows, inputs=dict(inputs))
        found.append(compare(reference, Observation(rows=rows, inputs=seen)).drifted)
    return found


@pytest.mark.parametrize("rows", [50, 200, 1_000])
def test_windows_without_drift_are_left_alone(rows: int) -> None:
    """Without any drift the rate of false discoveries is the share of windows in which anything is found."""
    flagged = np.mean([bool(found) for found in windows(rows, repetitions=200)])
    assert flagged <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_half_a_deviation_in_one_of_ten_columns_is_found_in_200_rows() -> None:
    found = windows(200, repetitions=100, shift=0.5)
    assert np.mean(["x0" in names for names in found]) >= 0.95
    false = [len(set(names) - {"x0"}) / max(len(names), 1) for names in found]
    assert np.mean(false) <= 0.05 + 3 * np.std(false) / 10


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def test_new_rows_like_the_old_ones(bundle: Bundle, customers: Customers, tmp_path: Path) -> None:
    report = check_data(bundle, write(customers(7, 300), tmp_path / "new.csv"))
    assert report.drifted == () and (report.rows, report.reference_rows) == (300, 500)
    roles = {feature.feature: (feature.role, feature.kind) for feature in report.features}
    assert roles == {
        "age": ("input", "numeric"),
        "usage": ("input", "numeric"),
        "income": ("input", "numeric"),
        "plan": ("input", "categorical"),
        "prediction": ("output", "categorical"),
        "probability": ("output", "numeric"),
        "probability[yes]": ("output", "numeric"),
        "entropy": ("output", "numeric"),
        **{f"embedding[{number}]": ("output", "numeric") for number in range(4)},
    }
    inputs = check_data(bundle, tmp_path / "new.csv", outputs=False).features
    assert {feature.role for feature in inputs} == {"input"}


def test_columns_that_moved_come_first(bundle: Bundle, customers: Customers, tmp_path: Path) -> None:
    new = customers(7, 300)
    moved = new.assign(usage=new["usage"] * 1.6, plan=new["plan"].replace("team", "enterprise"))
    report = check_data(bundle, write(moved, tmp_path / "new.parquet"), outputs=False)
    assert set(report.drifted) == {"usage", "plan"}
    assert [feature.drifted for feature in report.features] == [True, True, False, False]
    p_values = [feature.found.p for feature in report.features]
    assert p_values == sorted(p_values)
    [plan] = [feature for feature in report.features if feature.feature == "plan"]
    assert plan.found.outside == pytest.approx((new["plan"] == "team").mean())
    assert plan.row()["outside"] == plan.found.outside


def test_a_file_of_several_pieces_is_one_window(
    bundle: Bundle, customers: Customers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(customers(7, 300), tmp_path / "new.csv")
    whole = check_data(bundle, path, outputs=False)
    monkeypatch.setattr(report, "ROWS_AT_ONCE", 37)
    assert check_data(bundle, path, outputs=False) == whole
    assert check_data(bundle, customers(7, 300), outputs=False) == whole


def test_pictures_and_texts_are_checked_as_tables_are(tmp_path: Path) -> None:
    """Folders and npz files of pictures that were turned and darkened, and texts that hold digits now."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 60, (400, 8, 8, 1)).astype(np.uint8)
    pixels[:, :3, :] += 150
    pictures = untrained(
        tmp_path / "pictures", ImagePreprocessing.fit(pixels[:200], target=None), {"image": pixels[:200]}
    )
    np.savez(tmp_path / "same.npz", images=pixels[200:])
    np.savez(tmp_path / "moved.npz", images=np.rot90(pixels[200:], axes=(1, 2)))
    assert check_data(pictures, tmp_path / "same.npz").drifted == ()
    turned = check_data(pictures, tmp_path / "moved.npz").drifted
    assert {"orientation", "balance.down"} <= set(turned) and "intensity" not in turned
    folder = tmp_path / "dark"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(pixels[200 + number, :, :, 0] // 2).save(folder / f"{number:02}.png")
    assert "intensity" in check_data(pictures, folder).drifted

    words = ["".join(rng.choice(list("abcdef "), 12)) for _ in range(200)]
    text = TextPreprocessing(tokenizer=CharacterTokenizer.fit(words, documents=False), context=12)
    writer = untrained(tmp_path / "text", text, {"texts": words})
    lines = [{"text": "".join(rng.choice(list("abcdef 0"), 12))} for _ in range(100)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert "unknown" in check_data(writer, tmp_path / "new.jsonl").drifted


def untrained(folder: Path, preprocessing: Preprocessing, data: dict[str, Any]) -> Bundle:
    """A bundle whose network is never asked."""
    [raw] = data.values()
    return Bundle.save(
        folder,
        model_state={"weight": torch.zeros(1)},
        architecture={"name": "mlp"},
        signature={"task": "generation", "inputs": {}, "outputs": [1]},
        preprocessing=preprocessing,
        reference=Reference.of(preprocessing, [preprocessing.encode(raw)]),
    )


def test_what_shows_nothing_is_refused(bundle: Bundle, customers: Customers, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="29 rows; allowed: 30 or more"):
        check_data(bundle, write(customers(7, 29), tmp_path / "few.csv"))
    with pytest.raises(DataError, match="no column 'plan'"):
        check_data(bundle, write(customers(7, 50).drop(columns="plan"), tmp_path / "without.csv"))
    with pytest.raises(UsageError, match="between 0 and 1"):
        check_data(bundle, write(customers(7, 50), tmp_path / "new.csv"), false_discoveries=1.0)
