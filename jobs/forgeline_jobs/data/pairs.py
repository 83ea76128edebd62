"""Pairs of sequences as samples: the source with its length, and the target as what is read and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forgeline.preprocessing import PairPreprocessing
from forgeline.preprocessing.pairs import PADDING, START, Ids
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.base import SPLITS, Batch, Indices, Keys, PreparedData, Split, SplitName
from forgeline_jobs.data.fingerprint import fingerprint_arrays

IGNORED = -100
Pairs = Sequence[tuple[Sequence[str], Sequence[str]]]


class PairSplit:
    """Encoded pairs, filled up to the lengths of the preprocessing.

    Args:
        source: [n, S] tokens.
        length: [n] tokens of each source.
        target: [n, T] tokens, each row closed by the end token and filled up with padding.
    """

    def __init__(self, source: Ids, length: Ids, target: Ids) -> None:
        self._source = source.astype(np.int32)
        self._length = length
        self._target = target.astype(np.int32)

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`source` [n, S], `length` [n], `previous` and `target` [n, T]; nothing is augmented."""
        target = self._target[indices].astype(np.int64)
        previous = np.concatenate([np.full((len(target), 1), START, dtype=np.int64), target[:, :-1]], axis=1)
        return {
            "source": self._source[indices].astype(np.int64),
            "length": self._length[indices],
            "previous": previous,
            "target": np.where(target == PADDING, IGNORED, target),
        }


def prepare_pairs(
    pairs: Mapping[SplitName, Pairs], *, source_separator: str = "", target_separator: str = ""
) -> PreparedData:
    """Encode pairs of symbols that are split already.

    Symbols and the longest target come from all splits: they belong to what the data are, not to what is learnt.

    Args:
        pairs: (source, target) per split.
        source_separator: between two symbols of a source when it is written as text.
        target_separator: between two symbols of a target.
    """
    everything = [pair for name in SPLITS for pair in pairs[name]]
    symbols = sorted({symbol for source, target in everything for symbol in (*source, *target)})
    preprocessing = PairPreprocessing(
        symbols=tuple(symbols),
        source_length=max(len(source) for source, _ in everything),
        target_length=1 + max(len(target) for _, target in everything),
        source_separator=source_separator,
        target_separator=target_separator,
    )
    splits: dict[str, Split] = {}
    arrays: dict[str, NDArray[np.int64]] = {}
    for name in SPLITS:
        sources = preprocessing.encode_sources(source for source, _ in pairs[name])
        targets = preprocessing.encode_targets(target for _, target in pairs[name])
        splits[name] = PairSplit(sources["source"], sources["length"], targets)
        arrays |= {f"{name} source": sources["source"], f"{name} target": targets}
    return PreparedData(
        signature=pair_signature(preprocessing),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays(arrays),
        summary={
            "samples": {name: len(splits[name]) for name in SPLITS},
            "task": "translation",
            "vocabulary": preprocessing.vocabulary_size,
            "longest_source": preprocessing.source_length,
            "longest_target": preprocessing.target_length - 1,
        },
        input_example=[source_separator.join(source) for source, _ in pairs["train"][:2]],
    )


def pair_signature(preprocessing: PairPreprocessing) -> Signature:
    """What pairs of these lengths and symbols promise a model."""
    return Signature(
        task="translation",
        inputs={
            "source": TensorSpec(shape=(preprocessing.source_length,), dtype="int64"),
            "length": TensorSpec(shape=(), dtype="int64"),
            "previous": TensorSpec(shape=(preprocessing.target_length,), dtype="int64"),
        },
        outputs=(preprocessing.vocabulary_size,),
    )
