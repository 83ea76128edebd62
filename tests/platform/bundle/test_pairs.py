"""A model of pairs through its bundle: texts in, texts out, in the same way from memory, a file and MLflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from forgeline.bundle import Bundle, Reference
from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.errors import DataError
from forgeline.preprocessing import PairPreprocessing

WORDS = ["ab", "cab", "b", "abca"]


@pytest.fixture(scope="module")
def pair_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from forgeline_architectures.seq2seq import ARCHITECTURE

    preprocessing = PairPreprocessing(
        symbols=("AH", "K", "a", "b", "c"), source_length=4, target_length=5, target_separator=" "
    )
    signature = {
        "task": "translation",
        "inputs": {
            "source": {"shape": [4], "dtype": "int64"},
            "length": {"shape": [], "dtype": "int64"},
            "previous": {"shape": [5], "dtype": "int64"},
        },
        "outputs": [preprocessing.vocabulary_size],
    }
    architecture = {"name": "seq2seq", "hidden": 8, "beams": 2}
    torch.manual_seed(3)
    state = ARCHITECTURE.build_model(architecture, signature).state_dict()
    return Bundle.save(
        tmp_path_factory.mktemp("pairs") / "bundle",
        model_state=state,
        architecture=architecture,
        signature=signature,
        preprocessing=preprocessing,
        reference=Reference.of(preprocessing, [preprocessing.encode(WORDS)], np.zeros((4, 5), dtype=np.int64)),
    )


def test_predictions_are_what_the_network_writes(pair_bundle: Bundle, tmp_path: Path) -> None:
    loaded = Bundle.load(pair_bundle.folder)
    found = loaded.predict(WORDS, device="cpu", batch_size=3)
    assert found["source"].tolist() == WORDS and list(found.columns) == ["source", "prediction"]
    arrays = {name: torch.from_numpy(array) for name, array in loaded.preprocessing.encode(WORDS).items()}
    written = loaded.model.translate(arrays).numpy()  # type: ignore[operator]
    assert found["prediction"].tolist() == loaded.preprocessing.decode(written)["prediction"].tolist()
    assert found["prediction"].str.len().max() > 0
    (tmp_path / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    pd.testing.assert_frame_equal(loaded.predict(tmp_path / "words.txt", device="cpu"), found)
    pd.testing.assert_frame_equal(loaded.predict(str(tmp_path / "words.txt"), device="cpu"), found)


def test_a_row_does_not_depend_on_the_others(pair_bundle: Bundle) -> None:
    together = pair_bundle.predict(WORDS, device="cpu")["prediction"].tolist()
    assert [pair_bundle.predict([word], device="cpu")["prediction"][0] for word in WORDS] == together


def test_mlflow_predicts_the_same(pair_bundle: Bundle, tmp_path: Path) -> None:
    import mlflow

    save_mlflow_model(pair_bundle.folder, tmp_path / "model", WORDS[:2])
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    expected = pair_bundle.predict(WORDS, device="cpu")
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame({"text": WORDS})), expected)


def test_unknown_symbols_are_refused(pair_bundle: Bundle) -> None:
    with pytest.raises(DataError, match=r"sequence 1 .* symbol 'x'"):
        pair_bundle.predict(["ab", "ax"])


def test_reference_counts_the_sources(pair_bundle: Bundle) -> None:
    reference = Bundle.load(pair_bundle.folder).reference
    assert reference is not None and reference.samples == 4 and {"length", "letters", "token"} <= set(reference.inputs)
    counts = reference.inputs["token"].counts  # type: ignore[union-attr]
    assert sum(counts.values()) == 4 and counts.keys() <= {"5", "6", "7"}, "one of each source, padding never"
    assert reference.inputs["letters"].mean == 1  # type: ignore[union-attr]
    assert reference.outputs == {}


def test_the_embedding_of_a_source_does_not_depend_on_longer_ones_beside_it(pair_bundle: Bundle) -> None:
    found = pair_bundle.embed(WORDS, device="cpu")
    assert found.shape == (4, 8)
    np.testing.assert_allclose(found[2], pair_bundle.embed(["b"], device="cpu")[0], atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3
