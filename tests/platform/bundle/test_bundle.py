"""Saving, loading and predicting: the same answers whatever form the data come in."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.bundle import prediction as pieces
from forgeline.bundle.inference import pick_device
from forgeline.errors import BundleError, DataError, UsageError


def test_the_network_comes_back_with_its_weights(table_bundle: Bundle) -> None:
    loaded = Bundle.load(table_bundle.folder)
    assert not loaded.model.training
    state = loaded.model.state_dict()
    assert state and all(torch.equal(state[name], value) for name, value in table_bundle.model.state_dict().items())
    assert (loaded.classes, loaded.metrics["val/accuracy"]) == (("no", "yes"), 0.9)
    assert loaded.data is not None and loaded.data.fingerprint == "ab" * 32
    assert loaded.reference is not None and loaded.reference.samples == 200
    assert "mlp: classification, accuracy" not in repr(loaded) and "val/accuracy 0.9" in repr(loaded)


def test_building_the_network_leaves_random_numbers_alone(table_bundle: Bundle) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _ = Bundle.load(table_bundle.folder).model
    assert torch.equal(torch.rand(3), expected)


def again(bundle: Bundle, folder: Path, number: int) -> Bundle:
    """The same model saved to `folder`, told apart by its metric."""
    return Bundle.save(
        folder,
        model_state=bundle.model.state_dict(),
        architecture=bundle.manifest.architecture,
        signature=bundle.manifest.signature,
        preprocessing=bundle.preprocessing,
        metrics={"number": number},
    )


def test_the_old_bundle_stays_until_the_new_one_is_in_its_place(
    table_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    again(table_bundle, folder, 1)
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith(".replaced"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(BundleError, match="No space left"):
            again(table_bundle, folder, 2)
    assert Bundle.load(folder).metrics == {"number": 1}
    again(table_bundle, folder, 3)
    assert Bundle.load(folder).metrics == {"number": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_secrets_of_the_data_are_not_sealed_into_the_bundle(table_bundle: Bundle, tmp_path: Path) -> None:
    config = {"name": "warehouse", "password": "hunter2", "url": "postgresql://me:hunter2@h/x", "rows": 5}
    manifest = Bundle.save(
        tmp_path / "bundle",
        model_state=table_bundle.model.state_dict(),
        architecture=table_bundle.manifest.architecture,
        signature=table_bundle.manifest.signature,
        preprocessing=table_bundle.preprocessing,
        data={"name": "warehouse", "config": config, "fingerprint": "ab" * 32},
    ).manifest
    assert "hunter2" not in (tmp_path / "bundle" / "bundle.json").read_text()
    assert manifest.data is not None and manifest.data.config["rows"] == 5


def test_a_table_in_every_form(table_bundle: Bundle, customers: pd.DataFrame, tmp_path: Path) -> None:
    expected = table_bundle.predict(customers)
    assert list(expected.columns) == ["prediction", "probability", "probability[no]", "probability[yes]"]
    assert len(expected) == 200 and set(expected["prediction"]) <= {"yes", "no"}
    np.testing.assert_allclose(expected[["probability[no]", "probability[yes]"]].sum(axis=1), 1, atol=1e-6)
    customers.to_csv(tmp_path / "c.csv", index=False)
    customers.to_parquet(tmp_path / "c.parquet")
    for raw in (
        tmp_path / "c.csv",
        str(tmp_path / "c.parquet"),
        customers.to_dict("records"),
        customers.to_dict("list"),
    ):
        pd.testing.assert_frame_equal(table_bundle.predict(raw), expected, check_index_type=False)
    one = table_bundle.predict(customers.iloc[3].to_dict())
    np.testing.assert_allclose(one["probability"], expected["probability"].iloc[[3]], atol=1e-6)


def test_the_rows_keep_their_labels(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    chosen = customers.sample(20, random_state=1)
    predictions = table_bundle.predict(chosen)
    assert predictions.index.equals(chosen.index)
    whole = table_bundle.predict(customers)
    np.testing.assert_allclose(predictions["probability"], whole.loc[chosen.index, "probability"], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_pieces_and_batches_change_nothing(
    table_bundle: Bundle, customers: pd.DataFrame, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = table_bundle.predict(customers)
    monkeypatch.setattr(pieces, "PIECE_ROWS", 33)
    found = table_bundle.predict(customers, batch_size=batch_size, device="cpu")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


def test_images_from_arrays_files_and_folders(
    image_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(2).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    expected = image_bundle.predict(pixels)
    monkeypatch.setattr(pieces, "PIECE_SAMPLES", 2)
    pd.testing.assert_frame_equal(image_bundle.predict(pixels), expected, rtol=1e-4)
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    found = image_bundle.predict(folder)
    assert found["path"].tolist() == [str(folder / f"{number}.png") for number in range(5)]
    pd.testing.assert_frame_equal(found.drop(columns="path"), expected, rtol=1e-4)
    single = image_bundle.predict(pixels[0])
    np.testing.assert_allclose(single["probability"], expected["probability"].iloc[:1], rtol=1e-4)
    opened = image_bundle.predict(Image.fromarray(pixels[0]))
    np.testing.assert_allclose(opened["probability"], expected["probability"].iloc[:1], rtol=1e-4)


def test_a_forecast_has_a_row_for_every_full_window(forecast_bundle: Bundle, tmp_path: Path) -> None:
    frame = pd.DataFrame({"hour": np.arange(30), "load": np.sin(np.arange(30.0)) * 10 + 50})
    found = forecast_bundle.predict(frame)
    assert list(found.columns) == ["hour", "prediction[t+1]", "prediction[t+2]"]
    assert found["hour"].tolist() == list(range(11, 30))
    windows = np.stack([frame["load"].to_numpy()[start : start + 12] for start in range(19)])
    by_window = forecast_bundle.predict(windows)
    np.testing.assert_allclose(by_window["prediction[t+1]"], found["prediction[t+1]"], rtol=1e-5)
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "load.csv", index=False)
    pd.testing.assert_frame_equal(forecast_bundle.predict(tmp_path / "load.csv"), found)


def test_the_next_token_is_that_of_each_text_alone(text_bundle: Bundle, tmp_path: Path) -> None:
    """Texts of different lengths share a batch: the filling must not show."""
    texts = ["abc", "h", "abcdefgh abcdefgh", "fed "]
    together = text_bundle.predict(texts, device="cpu")
    assert list(together.columns) == ["prediction", "probability"]
    for number, text in enumerate(texts):
        alone = text_bundle.predict([text], device="cpu")
        assert alone["prediction"][0] == together["prediction"][number]
        assert alone["probability"][0] == pytest.approx(together["probability"][number], rel=1e-5)
    file = tmp_path / "a.txt"
    file.write_text("abc")
    pd.testing.assert_frame_equal(text_bundle.predict(file, device="cpu"), together.iloc[:1], rtol=1e-5)
    assert len(text_bundle.predict("abc")) == 1  # a str is a text, not a path


def test_bad_data_are_named(table_bundle: Bundle, customers: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'plan'"):
        table_bundle.predict(customers.drop(columns="plan"))
    with pytest.raises(DataError, match="does not exist"):
        table_bundle.predict(tmp_path / "gone.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="is empty"):
        table_bundle.predict(tmp_path / "empty.csv")
    with pytest.raises(DataError, match="is not a table"):
        table_bundle.predict(tmp_path)


def test_a_text_among_numbers_is_refused_and_nothing_written(
    table_bundle: Bundle, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forgeline.cli.app import main

    rows = customers.drop(columns="churned").astype({"income": object})
    rows.loc[150, "income"] = "44,400"
    rows.to_csv(tmp_path / "c.csv", index=False)
    named = r"`income` is '44,400' in data row 150 \(the first is 0\); allowed: a number such as"
    monkeypatch.setattr(pieces, "PIECE_ROWS", 33)
    for raw in (rows, rows.to_dict("records"), tmp_path / "c.csv"):
        with pytest.raises(DataError, match=named):
            table_bundle.predict(raw)
    output = tmp_path / "answers.csv"
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(table_bundle.folder), str(tmp_path / "c.csv"), "--output", str(output)])
    assert ended.value.code == 2 and not output.exists()


def test_bad_arguments_are_named(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="batch_size is 0; allowed: 1 or more"):
        table_bundle.predict(customers, batch_size=0)
    for device in ("gpu", "cuda:99"):
        with pytest.raises(UsageError, match=f"device '{device}' cannot be used"):
            table_bundle.predict(customers, device=device)
    with pytest.raises(UsageError, match="only language models generate text"):
        table_bundle.generate("hello")
    assert pick_device("cpu").type == "cpu"


def test_weights_of_another_network_are_refused(table_bundle: Bundle, tmp_path: Path) -> None:
    manifest = table_bundle.manifest
    wider = Bundle.save(
        tmp_path / "b",
        model_state=table_bundle.model.state_dict(),
        architecture={**manifest.architecture, "hidden": [9]},
        signature=manifest.signature,
        preprocessing=table_bundle.preprocessing,
    )
    with pytest.raises(BundleError, match="do not fit architecture 'mlp'"):
        _ = wider.model


def test_saving_again_replaces_and_leaves_nothing_behind(table_bundle: Bundle, tmp_path: Path) -> None:
    def save(**optional: Any) -> Bundle:
        return Bundle.save(
            tmp_path / "b",
            model_state=table_bundle.model.state_dict(),
            architecture=table_bundle.manifest.architecture,
            signature=table_bundle.manifest.signature,
            preprocessing=table_bundle.preprocessing,
            **optional,
        )

    assert save(reference=table_bundle.reference).reference is not None
    again = save(metrics={"val/loss": 1.0})
    assert again.reference is None and Bundle.load(tmp_path / "b").metrics == {"val/loss": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["bundle.json", "weights.safetensors"]


def test_a_save_that_fails_leaves_the_old_bundle(table_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    arguments: dict[str, Any] = {
        "model_state": table_bundle.model.state_dict(),
        "architecture": table_bundle.manifest.architecture,
        "signature": table_bundle.manifest.signature,
        "preprocessing": table_bundle.preprocessing,
    }
    before = Bundle.save(folder, **arguments).digest
    with pytest.raises(ValueError):
        Bundle.save(folder, **arguments, metrics={"val/loss": float("nan")})
    assert Bundle.load(folder).digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_unknown_architectures_are_named(table_bundle: Bundle, tmp_path: Path) -> None:
    bundle = Bundle.save(
        tmp_path / "b",
        model_state=table_bundle.model.state_dict(),
        architecture={"name": "mlpp"},
        signature=table_bundle.manifest.signature,
        preprocessing=table_bundle.preprocessing,
    )
    with pytest.raises(Exception, match="did you mean `mlp`"):
        _ = bundle.model
    assert "mlp" in plugins.names(plugins.ARCHITECTURES)


def test_importing_and_loading_bring_no_torch(table_bundle: Bundle) -> None:
    code = (
        "import sys; from forgeline.bundle import Bundle; b = Bundle.load(sys.argv[1]); repr(b); b.preprocessing; "
        "print([m for m in ('torch', 'pandas', 'mlflow', 'sklearn') if m in sys.modules])"
    )
    arguments = [sys.executable, "-c", code, str(table_bundle.folder)]
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip() == "[]"
