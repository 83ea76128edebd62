"""Pictures with captions: pixels in, words out, and captions that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgeline.errors import DataError
from forgeline.preprocessing import CaptionPreprocessing, ImagePreprocessing, load_preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
FITTED = CaptionPreprocessing(
    image=ImagePreprocessing.fit(PIXELS, target=None), words=("a", "blue", "disc", "red"), length=4
)


def test_pictures_are_encoded_as_by_the_image_preprocessing(tmp_path: Path) -> None:
    assert np.array_equal(FITTED.encode(PIXELS)["image"], FITTED.image.standardise(PIXELS))
    Image.fromarray(PIXELS[0]).save(tmp_path / "one.png")
    read = FITTED.read(tmp_path / "one.png")
    assert np.allclose(FITTED.encode(read)["image"], FITTED.image.standardise(PIXELS[:1]))
    assert FITTED.row_labels(read)["path"].tolist() == [str(tmp_path / "one.png")]


def test_captions_come_back() -> None:
    tokens = FITTED.encode_captions(["a red disc", "blue"])
    assert tokens.tolist() == [[3, 6, 5, 2], [4, 2, 0, 0]]
    assert FITTED.decode(tokens)["prediction"].tolist() == ["a red disc", "blue"]
    assert FITTED.decode_tokens(np.asarray([1, 3, 6, 0])) == "a red", "the start token is no word"
    assert FITTED.vocabulary_size == 7


@pytest.mark.parametrize(
    ("caption", "message"),
    [("", r"caption 1 .* has 0 words"), ("a red red disc", r"4 words; allowed: 1 to 3"), ("a rad disc", "'rad'.*red")],
)
def test_captions_that_cannot_be_read_are_refused(caption: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FITTED.encode_captions(["a disc", caption])


def test_is_json_as_a_whole() -> None:
    assert load_preprocessing(FITTED.model_dump_json()) == FITTED
