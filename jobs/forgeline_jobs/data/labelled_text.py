"""Texts whose class, of the whole or of each token, is learnt: what the built-in sets of them are prepared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget, TextPreprocessing
from forgeline.preprocessing.tokenization import WordTokenizer
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.base import SPLITS, ClassWeights, DataConfig, PreparedData, Split, SplitName
from forgeline_jobs.data.checks import balanced_weights, class_counts
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.packing import IGNORED
from forgeline_jobs.data.text import DEFAULT_VOCABULARY

_SEED = 0

Example = TypeVar("Example")


class LabelledTextConfig(DataConfig):
    """Settings of every such set; words are numbered as by `tokenizer: word`."""

    vocabulary: int = Field(
        default=DEFAULT_VOCABULARY, ge=257, le=1_000_000, description="Most words; those of the pretraining."
    )
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")


def word_preprocessing(
    train: str, *, vocabulary: int, context: int, target: ClassTarget, tagged: bool = False
) -> TextPreprocessing:
    """Words of the text of train, numbered; `tagged` where each of them has a class."""
    tokenizer = WordTokenizer.fit([train], vocabulary=vocabulary, documents=False)
    return TextPreprocessing(tokenizer=tokenizer, context=context, whole=True, tagged=tagged, target=target)


def drawn(train: Sequence[Example], labels: int) -> list[Example]:
    """The examples of train that are learnt from, drawn by a fixed seed."""
    return [train[place] for place in np.random.default_rng(_SEED).permutation(len(train))[:labels]]


def prepare_labelled_text(
    encoded: Mapping[SplitName, Mapping[str, NDArray[Any]]],
    *,
    task: Literal["classification", "token_classification"],
    preprocessing: TextPreprocessing,
    target: ClassTarget,
    class_weights: ClassWeights,
    input_example: list[str],
) -> PreparedData:
    """What is known of the splits' `tokens` [n, T], `length` [n] and `target` ([n], or [n, T] with IGNORED in it)."""
    arrays = {f"{name} {key}": array for name in SPLITS for key, array in encoded[name].items()}
    splits: dict[str, Split] = {name: ArraySplit(dict(encoded[name])) for name in SPLITS}
    classes = arrays["train target"][arrays["train target"] != IGNORED]
    return PreparedData(
        signature=Signature(
            task=task,
            inputs={
                "tokens": TensorSpec(shape=(preprocessing.context,), dtype="int64"),
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
            "task": task,
            "classes": class_counts(target, classes),
            "vocabulary": preprocessing.vocabulary_size,
        },
        input_example=input_example,
        class_weights=balanced_weights(class_weights, classes, len(target.classes)),
    )
