"""Shakespeare's marks: words without them, and the class of what followed each."""

from __future__ import annotations

import numpy as np
import pytest

from forgeline.preprocessing import ClassTarget, TextPreprocessing
from forgeline.preprocessing.tokenization import WordTokenizer
from forgeline_jobs.data.base import SPLITS, PreparedData, as_int64
from forgeline_jobs.data.builtin_marks import ShakespeareMarksConfig, pieces, prepare_shakespeare_marks

PLAY = "ROMEO:\nShe speaks:\nO, speak again, bright angel! for--thou art 'glorious'\n\nJULIET:\nAy me.\n"


@pytest.fixture(scope="module")
def data() -> PreparedData:
    return prepare_shakespeare_marks(ShakespeareMarksConfig())


def read(context: int) -> list[tuple[str, list[str]]]:
    preprocessing = TextPreprocessing(
        tokenizer=WordTokenizer.fit([PLAY], vocabulary=300, documents=False), context=context, whole=True, tagged=True,
        target=ClassTarget(name="mark", classes=("comma", "end", "none", "pause")),
    )  # fmt: skip
    return [(preprocessing.decode_text(words), kinds) for words, kinds in pieces(PLAY, preprocessing)]


def test_a_word_has_the_class_of_the_mark_behind_it() -> None:
    words = "she speaks o speak again bright angel for thou art glorious"
    kinds = ["none", "pause", "comma", "none", "comma", "none", "end", "none", "none", "none", "none"]
    assert read(32) == [(words, kinds)], "a speech of two words is left out"


def test_a_long_speech_is_cut() -> None:
    assert [(len(text.split()), len(kinds)) for text, kinds in read(6)] == [(5, 5), (5, 5)], "and one word is left over"


def test_every_word_is_asked_about_and_nothing_else(data: PreparedData) -> None:
    for name in SPLITS:
        split = data.splits[name]
        batch = split.batch(as_int64(range(len(split))))
        place = np.arange(32)[None]
        words = (place > 0) & (place < batch["length"][:, None])
        assert np.array_equal(batch["target"] != -100, words)
        assert (batch["tokens"][:, 0] == data.preprocessing.first).all()  # type: ignore[union-attr]
        kinds = np.bincount(batch["target"][words], minlength=4)
        assert kinds.min() > 20 and kinds.argmax() == 2, "most words have no mark"
    assert len(data.splits["train"]) == 500 and data.preprocessing.classes == ("comma", "end", "none", "pause")


def test_more_labels_hold_the_fewer(data: PreparedData) -> None:
    fewer = prepare_shakespeare_marks(ShakespeareMarksConfig(labels=100))
    rows = as_int64(range(100))
    few, many = (each.splits["train"].batch(rows)["tokens"] for each in (fewer, data))
    assert np.array_equal(few, many)
