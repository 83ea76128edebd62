"""From one encoding to another is the same as encoding the raw data: for tables, images and series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forgeline.errors import DataError
from forgeline.preprocessing import (
    ClassTarget,
    ImagePreprocessing,
    ScaledTarget,
    SeriesPreprocessing,
    TextPreprocessing,
)
from forgeline.preprocessing.tokenization import ByteTokenizer, CharacterTokenizer
from forgeline_jobs.evaluate.translation import Translation

RNG = np.random.default_rng(0)


def series(values: Any, **changes: Any) -> SeriesPreprocessing:
    mean, std = SeriesPreprocessing.statistics(values)
    settings: dict[str, Any] = {"channels": ("a", "b"), "window": values.shape[1], "varied": True}
    return SeriesPreprocessing(mean=mean, std=std, target=ClassTarget.fit("y", ["x", "z"]), **(settings | changes))


def test_the_same_encoding_is_left_alone() -> None:
    model = series(RNG.normal(size=(5, 7, 2)))
    arrays = model.encode(RNG.normal(size=(3, 7, 2)))
    translation = Translation(model, model.model_copy())
    assert translation.inputs(arrays)["series"] is arrays["series"]
    targets = np.array([0, 1])
    assert translation.targets(targets) is targets


def test_images_of_another_brightness() -> None:
    pixels = RNG.integers(0, 256, (6, 4, 4, 1)).astype(float)
    labels = ClassTarget.fit("y", ["a", "b"])
    model = ImagePreprocessing.fit(pixels, target=labels)
    source = ImagePreprocessing.fit(pixels / 255 * 16, target=ClassTarget.fit("y", ["b"]), pixel_max=16.0)
    translation = Translation(source, model)
    found = translation.inputs(source.encode(pixels / 255 * 16))
    np.testing.assert_allclose(found["image"], model.encode(pixels)["image"], atol=1e-5)
    assert translation.targets(np.array([0, 0])).tolist() == [1, 1]
    with pytest.raises(DataError, match=r"images are \(5, 5, 1\)"):
        Translation(ImagePreprocessing.fit(np.zeros((1, 5, 5, 1)), target=labels), model)


def test_series_of_different_lengths() -> None:
    model, source = series(RNG.normal(3, 2, (9, 7, 2))), series(RNG.normal(-1, 5, (9, 7, 2)))
    raw = [RNG.normal(size=(length, 2)) for length in (7, 3, 5)]
    found, expected = Translation(source, model).inputs(source.encode(raw)), model.encode(raw)
    assert found["length"].tolist() == expected["length"].tolist()
    np.testing.assert_allclose(found["series"], expected["series"], atol=1e-5)
    with pytest.raises(DataError, match="channels, window and horizon"):
        Translation(series(RNG.normal(size=(9, 6, 2))), model)


def test_numbers_are_scaled_to_the_models_target() -> None:
    targets = RNG.normal(100, 10, (20, 1))
    parts = [
        series(RNG.normal(size=(5, 7, 2))).model_copy(update={"target": ScaledTarget.fit(["y"], values)})
        for values in (targets[:5], targets)
    ]
    translation = Translation(*parts)
    source, model = (part.target for part in parts)
    assert isinstance(source, ScaledTarget) and isinstance(model, ScaledTarget)
    np.testing.assert_allclose(translation.targets(source.encode(targets)), model.encode(targets), atol=1e-4)


def test_other_kinds_tasks_and_tokens_are_refused() -> None:
    model = series(RNG.normal(size=(5, 7, 2)))
    text = TextPreprocessing(tokenizer=ByteTokenizer.fit(documents=False), context=4)
    with pytest.raises(DataError, match="the data are text, the model takes series"):
        Translation(text, model)
    with pytest.raises(DataError, match="different tasks"):
        Translation(model.model_copy(update={"target": ScaledTarget(names=("y",), mean=(0.0,), std=(1.0,))}), model)
    characters = TextPreprocessing(tokenizer=CharacterTokenizer.fit(["ab"], documents=False), context=4)
    with pytest.raises(DataError, match="other tokens than the model knows"):
        Translation(characters, text)
    longer = text.model_copy(update={"context": 8})
    arrays = {"tokens": np.zeros((1, 4), dtype=np.int64)}
    assert Translation(longer, text).inputs(arrays) == arrays
