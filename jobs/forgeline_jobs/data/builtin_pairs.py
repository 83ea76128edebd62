"""Strings and the same backwards, drawn by a fixed seed, and the CMU dictionary of how English words sound."""

from __future__ import annotations

import lzma
import re
import string
from importlib.resources import files
from typing import Literal

import numpy as np
from pydantic import Field

from forgeline_jobs.data.base import DataConfig, PreparedData, SplitName
from forgeline_jobs.data.pairs import Pairs, prepare_pairs

_HELD_OUT = 1000  # pairs of val, and as many of test
_SEED = 0

_REVERSED_TRAIN = 10_000
_REVERSED_LENGTH = 20

# A second way to say a word is numbered, `read(2)`; the first one is taken. Comments follow a #.
_WORD = re.compile(r"[a-z]{3,10}")
_STRESS = re.compile(r"\d")


class ReverseCopyConfig(DataConfig):
    """Random strings of 20 lower-case letters; the target is the string backwards."""

    name: Literal["reverse-copy"] = "reverse-copy"
    batch_size: int = Field(default=64, ge=1, description="Pairs per optimiser step, over all workers together.")


class CmudictConfig(DataConfig):
    """Words of 3 to 10 letters without apostrophes; the target is the first way to say them, without stress marks."""

    name: Literal["cmudict"] = "cmudict"
    batch_size: int = Field(default=256, ge=1, description="Pairs per optimiser step, over all workers together.")


def prepare_reverse_copy(config: ReverseCopyConfig) -> PreparedData:
    """10,000 train, 1,000 val, 1,000 test."""
    letters = np.asarray(list(string.ascii_lowercase))
    drawn = np.random.default_rng(_SEED).integers(
        len(letters), size=(_REVERSED_TRAIN + 2 * _HELD_OUT, _REVERSED_LENGTH)
    )
    return prepare_pairs(_split([(row, row[::-1]) for row in letters[drawn].tolist()]))


def prepare_cmudict(config: CmudictConfig) -> PreparedData:
    """All words but 2,000 are train; 1,000 each, drawn by a fixed seed, are val and test."""
    text = lzma.decompress(files("forgeline_jobs.data").joinpath("files/cmudict.dict.xz").read_bytes()).decode("utf-8")
    words: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, *phonemes = line.partition("#")[0].split()
        if _WORD.fullmatch(word):
            words[word] = [_STRESS.sub("", phoneme) for phoneme in phonemes]
    pairs = [(list(word), words[word]) for word in sorted(words)]
    order = np.random.default_rng(_SEED).permutation(len(pairs))
    return prepare_pairs(_split([pairs[place] for place in order]), target_separator=" ")


def _split(pairs: Pairs) -> dict[SplitName, Pairs]:
    """The last ones are test, those before them val."""
    first_val, first_test = len(pairs) - 2 * _HELD_OUT, len(pairs) - _HELD_OUT
    return {"train": pairs[:first_val], "val": pairs[first_val:first_test], "test": pairs[first_test:]}
