"""Captioner and CLIP from the data to a bundle: measured as in validation, and asked with a picture's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from forgeline import metrics
from forgeline.bundle import Bundle, Reference
from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.bundle.retrieval import embed_captions, embed_images
from forgeline.errors import DataError, UsageError
from forgeline_architectures.captioner import ARCHITECTURE as CAPTIONER
from forgeline_architectures.clip import ARCHITECTURE as CLIP
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.builtin_captions import CaptionedShapesConfig, prepare_captioned_shapes
from forgeline_jobs.data.loader import eval_loader
from forgeline_jobs.evaluate.measurement import Task, measure
from forgeline_jobs.evaluate.translation import Translation
from forgeline_jobs.train.callbacks.validation import Outputs

CONFIGS: dict[str, dict[str, Any]] = {
    "translation": {
        "name": "captioner",
        "encoder": {"name": "resnet10t", "options": {"channels": [8, 8, 8, 8]}},
        "embedding": 4,
        "hidden": 8,
        "beams": 1,
    },
    "retrieval": {
        "name": "clip",
        "vision_layers": 1, "vision_heads": 1, "vision_width": 8, "patch": 8,
        "text_layers": 1, "text_heads": 1, "text_width": 8,
        "projection": 8,
    },
}  # fmt: skip


class Made:
    """An untrained model of a task, its data and its bundle."""

    def __init__(self, task: str, folder: Path) -> None:
        settings = {"name": "captioned-shapes", "task": task, "size": 16}
        self.data = prepare_captioned_shapes(CaptionedShapesConfig.model_validate(settings))
        signature = self.data.signature.model_dump(mode="json")
        torch.manual_seed(0)
        family = CAPTIONER if task == "translation" else CLIP
        self.module = family.build_module(CONFIGS[task], signature, {"total_steps": 1}).eval()
        self.bundle = Bundle.save(
            folder / "bundle",
            model_state=self.module.model.state_dict(),
            architecture=CONFIGS[task],
            signature=signature,
            preprocessing=self.data.preprocessing,
            data={
                "name": "captioned-shapes",
                "config": settings,
                "fingerprint": self.data.fingerprint,
                "summary": {},
            },
            reference=Reference.of(self.data.preprocessing, [self.data.splits["val"].batch(np.arange(50))]),
        )


@pytest.fixture(scope="module", params=["translation", "retrieval"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(request.param, tmp_path_factory.mktemp(request.param))


def example(data: PreparedData) -> Any:
    return data.input_example


def test_the_measure_is_that_of_validation(made: Made, tmp_path: Path) -> None:
    task = made.data.signature.task
    outputs = Outputs()
    with torch.no_grad():
        for index, batch in enumerate(eval_loader(made.data.splits["val"], 100)):
            outputs.add(made.module.validation_step(batch, index))
    expected = outputs.measure(made.data)
    assert set(expected) == set(metrics.METRICS[task])
    told = Task(
        bundle=str(made.bundle.folder), data=None, split="val", batch_size=256, device="cpu", folder=str(tmp_path / "r")
    )
    found = measure(told)["metrics"]
    assert found == pytest.approx({f"val/{name}": value for name, value in expected.items()}, rel=1e-4)
    if task == "retrieval":
        assert found["val/loss"] == pytest.approx(np.log(648), rel=0.5), "an untrained model knows nothing"


def test_a_picture_is_answered_by_a_caption(made: Made, tmp_path: Path) -> None:
    pixels = example(made.data)
    bundle = Bundle.load(made.bundle.folder)
    found = bundle.predict(pixels, device="cpu")
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    from_files = bundle.predict(tmp_path, device="cpu")
    assert from_files["path"].tolist() == [str(tmp_path / f"{number}.png") for number in range(2)]
    pd.testing.assert_frame_equal(from_files.drop(columns="path"), found)
    assert len(found) == 2 and all(isinstance(text, str) for text in found["prediction"])


def test_mlflow_predicts_the_same(made: Made, tmp_path: Path) -> None:
    import mlflow

    pixels = example(made.data)
    save_mlflow_model(made.bundle.folder, tmp_path / "model", pixels)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predict(pixels), made.bundle.predict(pixels, device="cpu"))


def test_the_reference_describes_the_pictures(made: Made) -> None:
    reference = Bundle.load(made.bundle.folder).reference
    assert reference is not None and reference.samples == 50 and {"intensity", "sharpness"} <= set(reference.inputs)


def test_pictures_of_another_size_are_refused(made: Made) -> None:
    other = prepare_captioned_shapes(CaptionedShapesConfig(size=32))
    with pytest.raises(DataError, match="other words, lengths or pictures"):
        Translation(other.preprocessing, made.data.preprocessing)
    with pytest.raises(DataError, match="the model takes 16x16"):
        made.bundle.predict(example(other))


def test_embeddings_name_the_picture(made: Made) -> None:
    pixels = example(made.data)
    if made.bundle.task != "retrieval":
        with pytest.raises(UsageError, match="this model is for translation"):
            embed_images(made.bundle, pixels)
        assert made.bundle.embed(pixels, device="cpu").shape == (2, 8)
        return
    images = embed_images(made.bundle, pixels, device="cpu")
    np.testing.assert_array_equal(made.bundle.embed(pixels, device="cpu"), images)
    known = list(made.data.preprocessing.known)  # type: ignore[union-attr]
    captions = embed_captions(made.bundle, known, device="cpu")
    assert images.shape == (2, 8) and captions.shape == (216, 8)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1.0, rtol=1e-5)
    found = made.bundle.predict(pixels, device="cpu")
    closest = (images @ captions.T).argmax(axis=1)
    assert found["prediction"].tolist() == [known[number] for number in closest]
    assert ((found["probability"] > 1 / 216) & (found["probability"] <= 1)).all()
    with pytest.raises(DataError, match="has the word 'pink'"):
        embed_captions(made.bundle, "a pink circle at the top")
