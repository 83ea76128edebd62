"""Speeches of Tiny Shakespeare without their marks: which mark, if any, follows each word?

The splits are those of the running text, so a model that was pretrained on its train part has not read what it is
measured on.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget, TextPreprocessing
from forgeline.preprocessing.tokenization import WordTokenizer
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.builtin_sentences import speeches
from forgeline_jobs.data.builtin_text import ValConfig, tinyshakespeare_parts
from forgeline_jobs.data.labelled_text import LabelledTextConfig, drawn, prepare_labelled_text, word_preprocessing
from forgeline_jobs.data.packing import IGNORED

CLASSES = {",": "comma", ";": "pause", ":": "pause", ".": "end", "!": "end", "?": "end"}
NONE = "none"
_SHORTEST = 3  # words of a piece


class ShakespeareMarksConfig(LabelledTextConfig):
    """Pieces of speeches of train, val and test; words are numbered as by `tokenizer: word`."""

    name: Literal["shakespeare-marks"] = "shakespeare-marks"
    batch_size: int = Field(default=32, ge=1, description="Pieces per optimiser step, over all workers together.")
    context: int = Field(default=32, ge=4, description="Most tokens of a piece; longer speeches are cut into several.")
    labels: int = Field(default=500, ge=30, description="Pieces of train that are learnt from, drawn by a fixed seed.")


def prepare_shakespeare_marks(config: ShakespeareMarksConfig) -> PreparedData:
    """Pieces by split, each word with the class of what follows it."""
    parts = tinyshakespeare_parts(ValConfig().val)
    target = ClassTarget(name="mark", classes=tuple(sorted({NONE, *CLASSES.values()})))
    preprocessing = word_preprocessing(
        parts["train"], vocabulary=config.vocabulary, context=config.context, target=target, tagged=True
    )
    found = {name: pieces(parts[name], preprocessing) for name in SPLITS}
    found["train"] = drawn(found["train"], config.labels)
    return prepare_labelled_text(
        {name: _encoded(found[name], preprocessing, target) for name in SPLITS},
        task="token_classification",
        preprocessing=preprocessing,
        target=target,
        class_weights=config.class_weights,
        input_example=[preprocessing.decode_text(tokens) for tokens, _ in found["train"][:2]],
    )


def pieces(text: str, preprocessing: TextPreprocessing) -> list[tuple[list[int], list[str]]]:
    """(words, class of what follows each) of every speech, in pieces that fit behind the first token.

    Of several marks after a word the first one counts; dashes and quotation marks are none.
    """
    room = preprocessing.context - 1
    numbers = {word: number for number, word in enumerate(_words(preprocessing), start=1)}
    marks = {numbers[mark]: kind for mark, kind in CLASSES.items() if mark in numbers}
    other = {number for word, number in numbers.items() if not any(letter.isalnum() for letter in word)}
    found = []
    for body in speeches(text):
        words: list[int] = []
        kinds: list[str] = []
        for token in preprocessing.encode_text(body).tolist():
            if token in marks and words and kinds[-1] == NONE:
                kinds[-1] = marks[token]
            elif token not in other:
                words.append(token)
                kinds.append(NONE)
        for start in range(0, len(words), room):
            piece = words[start : start + room]
            if len(piece) >= _SHORTEST:
                found.append((piece, kinds[start : start + room]))
    return found


def _words(preprocessing: TextPreprocessing) -> tuple[str, ...]:
    tokenizer = preprocessing.tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    return tokenizer.words


def _encoded(
    found: list[tuple[list[int], list[str]]], preprocessing: TextPreprocessing, target: ClassTarget
) -> dict[str, NDArray[np.int64]]:
    """`tokens`, `length` and `target`; the first token of a row, and what is behind its end, are not asked about."""
    shape = (len(found), preprocessing.context)
    tokens, kinds = np.zeros(shape, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
    for row, (words, marks) in enumerate(found):
        tokens[row, : len(words) + 1] = preprocessing.opened(np.asarray(words, dtype=np.int64))
        kinds[row, 1 : len(words) + 1] = target.encode(marks)
    lengths = np.asarray([len(words) + 1 for words, _ in found], dtype=np.int64)
    return {"tokens": tokens, "length": lengths, "target": kinds}
