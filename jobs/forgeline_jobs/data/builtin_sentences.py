"""Sentences of Tiny Shakespeare without the mark that closes them: is it a question, an exclamation, or a statement?

The splits are those of the running text, so a model that was pretrained on its train part has not read what it is
measured on.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget, TextPreprocessing
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.builtin_text import ValConfig, tinyshakespeare_parts
from forgeline_jobs.data.labelled_text import LabelledTextConfig, drawn, prepare_labelled_text, word_preprocessing

CLASSES = {"!": "exclamation", "?": "question", ".": "statement"}
_SENTENCE = re.compile(r"([^.!?]+)([.!?])")
_SHORTEST = 3  # words of a sentence


class ShakespeareSentencesConfig(LabelledTextConfig):
    """8,070 sentences of train, 537 of val, 1,192 of test; words are numbered as by `tokenizer: word`."""

    name: Literal["shakespeare-sentences"] = "shakespeare-sentences"
    batch_size: int = Field(default=32, ge=1, description="Sentences per optimiser step, over all workers together.")
    context: int = Field(default=32, ge=4, description="Most tokens of a sentence; longer ones are left out.")
    labels: int = Field(
        default=1000, ge=30, description="Sentences of train that are learnt from, drawn by a fixed seed."
    )


def prepare_shakespeare_sentences(config: ShakespeareSentencesConfig) -> PreparedData:
    """Sentences by split, each with its class."""
    parts = tinyshakespeare_parts(ValConfig().val)
    target = ClassTarget(name="kind", classes=tuple(sorted(CLASSES.values())))
    preprocessing = word_preprocessing(
        parts["train"], vocabulary=config.vocabulary, context=config.context, target=target
    )
    found = {name: sentences(parts[name], preprocessing) for name in SPLITS}
    found["train"] = drawn(found["train"], config.labels)
    return prepare_labelled_text(
        {name: _encoded(found[name], preprocessing, target) for name in SPLITS},
        task="classification",
        preprocessing=preprocessing,
        target=target,
        class_weights=config.class_weights,
        input_example=[text for text, _ in found["train"][:2]],
    )


def speeches(text: str) -> list[str]:
    """What is said in a play, each speech as one line, speakers' names left out."""
    return [" ".join(speech.partition(":\n")[2].split()) for speech in text.split("\n\n")]


def sentences(text: str, preprocessing: TextPreprocessing) -> list[tuple[str, str]]:
    """(sentence without its mark, class) of every sentence of a play that fits, speakers' names left out."""
    found = []
    for body in speeches(text):
        for words, mark in _SENTENCE.findall(body):
            if _SHORTEST <= len(preprocessing.encode_text(words)) < preprocessing.context:
                found.append((words.strip(), CLASSES[mark]))
    return found


def _encoded(
    found: list[tuple[str, str]], preprocessing: TextPreprocessing, target: ClassTarget
) -> dict[str, NDArray[np.int64]]:
    """`tokens`, filled up to the context, `length` and `target`."""
    encoded = preprocessing.encode([text for text, _ in found])
    room = preprocessing.context - encoded["tokens"].shape[1]
    return {
        "tokens": np.pad(encoded["tokens"], ((0, 0), (0, room))),
        "length": encoded["length"],
        "target": target.encode([kind for _, kind in found]),
    }
