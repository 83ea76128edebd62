"""Sentences of Tiny Shakespeare without the mark that closes them: is it a question, an exclamation, or a statement?

The splits are those of the running text, so a model that was pretrained on its train part has not read what it is
measured on.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget, TextPreprocessing
from forgeline.preprocessing.tokenization import WordTokenizer
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import SPLITS, ClassWeights, DataConfig, PreparedData, Split
from forgeline_jobs.data.builtin_text import ValConfig, tinyshakespeare_parts
from forgeline_jobs.data.checks import balanced_weights, class_counts
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.text import DEFAULT_VOCABULARY

CLASSES = {"!": "exclamation", "?": "question", ".": "statement"}
_SENTENCE = re.compile(r"([^.!?]+)([.!?])")
_SHORTEST = 3  # words of a sentence
_SEED = 0


class ShakespeareSentencesConfig(DataConfig):
    """8,070 sentences of train, 537 of val, 1,192 of test; words are numbered as by `tokenizer: word`."""

    name: Literal["shakespeare-sentences"] = "shakespeare-sentences"
    batch_size: int = Field(default=32, ge=1, description="Sentences per optimiser step, over all workers together.")
    vocabulary: int = Field(
        default=DEFAULT_VOCABULARY, ge=257, le=1_000_000, description="Most words; those of the pretraining."
    )
    context: int = Field(default=32, ge=4, description="Most tokens of a sentence; longer ones are left out.")
    labels: int = Field(
        default=1000, ge=30, description="Sentences of train that are learnt from, drawn by a fixed seed."
    )
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")


def prepare_shakespeare_sentences(config: ShakespeareSentencesConfig) -> PreparedData:
    """Sentences by split, each with its class."""
    parts = tinyshakespeare_parts(ValConfig().val)
    target = ClassTarget(name="kind", classes=tuple(sorted(CLASSES.values())))
    preprocessing = TextPreprocessing(
        tokenizer=WordTokenizer.fit([parts["train"]], vocabulary=config.vocabulary, documents=False),
        context=config.context,
        whole=True,
        target=target,
    )
    found = {name: sentences(parts[name], preprocessing) for name in SPLITS}
    chosen = np.random.default_rng(_SEED).permutation(len(found["train"]))[: config.labels]
    found["train"] = [found["train"][place] for place in chosen]
    arrays: dict[str, NDArray[Any]] = {}
    splits: dict[str, Split] = {}
    for name in SPLITS:
        encoded = preprocessing.encode([text for text, _ in found[name]])
        room = config.context - encoded["tokens"].shape[1]
        own = {
            "tokens": np.pad(encoded["tokens"], ((0, 0), (0, room))),
            "length": encoded["length"],
            "target": target.encode([kind for _, kind in found[name]]),
        }
        arrays |= {f"{name} {key}": array for key, array in own.items()}
        splits[name] = ArraySplit(own)
    classes = arrays["train target"]
    return PreparedData(
        signature=Signature(
            task="classification",
            inputs={
                "tokens": TensorSpec(shape=(config.context,), dtype="int64"),
                "length": TensorSpec(shape=(), dtype="int64"),
            },
            vocabulary=preprocessing.vocabulary_size,
            outputs=(len(target.classes),),
        ),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays(arrays),
        summary={
            "samples": {name: len(splits[name]) for name in SPLITS},
            "task": "classification",
            "classes": class_counts(target, classes),
            "vocabulary": preprocessing.vocabulary_size,
        },
        input_example=[text for text, _ in found["train"][:2]],
        class_weights=balanced_weights(config.class_weights, classes, len(target.classes)),
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
