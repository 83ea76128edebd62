"""Models that read a text as a whole through their bundles: gaps are filled, texts are classified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgeline.bundle import Bundle, Reference
from forgeline.preprocessing import ClassTarget, TextPreprocessing
from forgeline.preprocessing.tokenization import WordTokenizer

TEXTS = ["the [MASK] sat on the mat", "a cat", "[MASK]"]
TOKENIZER = WordTokenizer.fit(["the cat sat on the mat", "a dog sat"], vocabulary=300, documents=False)


def bundle_of(folder: Path, signature: dict[str, Any], **settings: Any) -> Bundle:
    from forgeline_architectures.bert import ARCHITECTURE

    preprocessing = TextPreprocessing(tokenizer=TOKENIZER, context=8, whole=True, **settings)
    architecture = {"name": "bert", "layers": 1, "heads": 2, "width": 8}
    torch.manual_seed(0)
    encoded = preprocessing.encode(TEXTS)
    return Bundle.save(
        folder,
        model_state=ARCHITECTURE.build_model(architecture, signature).state_dict(),
        architecture=architecture,
        signature=signature,
        preprocessing=preprocessing,
        reference=Reference.of(preprocessing, [encoded], np.full((3, 2), 0.5) if settings else None),
    )


def states_of(bundle: Bundle, text: str) -> Any:
    """What transformers' encoder makes of one text."""
    model: Any = bundle.model
    with torch.inference_mode():
        return model.bert(input_ids=torch.from_numpy(bundle.preprocessing.encode([text])["tokens"]))


def tokens() -> dict[str, Any]:
    return {"tokens": {"shape": [8], "dtype": "int64"}}


def test_gaps_are_filled(tmp_path: Path) -> None:
    signature = {"task": "masked_language_modelling", "inputs": tokens(), "outputs": [TOKENIZER.size + 2]}
    bundle = Bundle.load(bundle_of(tmp_path / "bundle", signature).folder)
    found = bundle.predict(TEXTS, device="cpu", batch_size=2)["prediction"].tolist()
    first, second, third = (text.split() for text in found)
    assert first[:1] + first[2:] == ["the", "sat", "on", "the", "mat"] and len(first) == 6
    assert second == ["a", "cat"] and len(third) == 1
    vectors = bundle.embed(TEXTS, device="cpu")
    hidden = states_of(bundle, "a cat").last_hidden_state
    np.testing.assert_allclose(vectors[1], hidden[0].mean(0), atol=1e-5)
    np.testing.assert_allclose(bundle.embed(["a cat"], device="cpu")[0], vectors[1], atol=1e-5)


def test_texts_are_classified(tmp_path: Path) -> None:
    signature = {
        "task": "classification",
        "inputs": tokens() | {"length": {"shape": [], "dtype": "int64"}},
        "outputs": [2],
        "vocabulary": TOKENIZER.size + 2,
    }
    target = ClassTarget(name="kind", classes=("no", "yes"))
    bundle = Bundle.load(bundle_of(tmp_path / "bundle", signature, target=target).folder)
    found = bundle.predict(TEXTS, device="cpu", batch_size=2)
    assert set(found["prediction"]) <= {"no", "yes"}
    np.testing.assert_allclose(found[["probability[no]", "probability[yes]"]].sum(axis=1), 1, rtol=1e-5)
    pooled = states_of(bundle, "a cat").pooler_output
    np.testing.assert_allclose(bundle.embed(TEXTS, device="cpu")[1], pooled[0], atol=1e-5)
