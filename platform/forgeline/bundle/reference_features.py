"""What reference statistics describe samples by: numbers and categories per sample, named, of every modality.

All are taken from encoded batches, so that training (which has nothing else) and monitoring (which encodes what it is
asked) see them alike. Each depends on its own sample only, to the last bit: sums are of whole numbers or go from step
to step, so that how samples are put into batches changes no count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import sample_count
from forgeline.bundle.reference_images import image_features
from forgeline.bundle.reference_texts import text_features

if TYPE_CHECKING:
    from forgeline.preprocessing import (
        CaptionPreprocessing,
        GraphPreprocessing,
        ImagePreprocessing,
        PairPreprocessing,
        Preprocessing,
        SeriesPreprocessing,
        TablePreprocessing,
        TextPreprocessing,
    )
    from forgeline.preprocessing.tabular import Gaps

Arrays = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Described:
    """Samples by their features.

    Attributes:
        numbers: float64 [n, numeric], NaN missing.
        codes: int64 [n, categorical]: i + 1 for category i of the vocabulary, 0 missing, -1 none of them.
    """

    numbers: Numbers
    codes: Codes


@dataclass(frozen=True, kw_only=True)
class Features:
    """Names, and the way from a batch to their values.

    Attributes:
        numeric: names of numbers.
        vocabularies: names of categorical ones, with what they may be.
        describe: an encoded batch, and where its rows have no value (of a table; None takes it from the encoding) ->
            numbers [n, numeric] and codes [n, categorical].
    """

    numeric: tuple[str, ...]
    describe: Callable[[Arrays, Gaps | None], tuple[Numbers, Codes | None]]
    vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __call__(self, batch: Arrays, gaps: Gaps | None = None) -> Described:
        numbers, codes = self.describe(batch, gaps)
        if codes is None:
            codes = np.zeros((len(numbers), 0), dtype=np.int64)
        return Described(numbers=numbers, codes=codes)


def input_features(preprocessing: Preprocessing) -> Features:
    """Of what goes into a model."""
    makers: Mapping[str, Callable[[Any], Features]] = {
        "table": _table,
        "image": _image,
        "series": _series,
        "text": _text,
        "pairs": _text,
        "captions": _captions,
        "graph": _graph,
    }
    return makers[preprocessing.kind](preprocessing)


def _table(preprocessing: TablePreprocessing) -> Features:
    columns = preprocessing.numeric
    count, flagged = len(columns), [number for number, column in enumerate(columns) if column.flag_missing]
    empty = np.asarray([column.empty for column in columns], dtype=np.bool_)
    std, mean = np.asarray([column.std for column in columns]), np.asarray([column.mean for column in columns])

    def describe(batch: Arrays, gaps: Gaps | None) -> tuple[Numbers, Codes | None]:
        if count:
            numbers = batch["numeric"][:, :count].astype(np.float64) * std + mean
            if gaps is not None:
                numbers[gaps.numeric] = np.nan
            else:
                numbers[:, flagged] = np.where(batch["numeric"][:, count:] > 0.5, np.nan, numbers[:, flagged])
                numbers[:, empty] = np.nan
        else:
            numbers = np.zeros((sample_count(batch), 0))
        codes = batch.get("categorical")
        if codes is not None and gaps is not None:
            codes = np.where((codes == 0) & ~gaps.categorical, -1, codes)
        return numbers, codes

    return Features(
        numeric=tuple(column.name for column in columns),
        vocabularies={category.name: category.categories for category in preprocessing.categorical},
        describe=describe,
    )


def _image(preprocessing: ImagePreprocessing) -> Features:
    names, describe = image_features(preprocessing.channels, preprocessing.mean, preprocessing.std)
    return Features(numeric=names, describe=lambda batch, gaps: (describe(batch["image"]), None))


def _captions(preprocessing: CaptionPreprocessing) -> Features:
    return _image(preprocessing.image)


def _text(preprocessing: TextPreprocessing | PairPreprocessing) -> Features:
    names, vocabulary, describe = text_features(preprocessing)
    return Features(
        numeric=names, vocabularies={"token": vocabulary}, describe=lambda batch, gaps: describe(_tokens(batch))
    )


def _tokens(batch: Arrays) -> tuple[Codes, Codes]:
    tokens_NT = batch["source"] if "source" in batch else batch["tokens"]
    return tokens_NT, np.asarray(batch.get("length", np.full(len(tokens_NT), tokens_NT.shape[1])))


def _series(preprocessing: SeriesPreprocessing) -> Features:
    def describe(batch: Arrays, gaps: Gaps | None) -> tuple[Numbers, Codes | None]:
        series_NTC = batch["series"].astype(np.float64) * preprocessing.std + preprocessing.mean
        samples, steps, channels = series_NTC.shape
        lengths = np.asarray(batch.get("length", np.full(samples, steps)))
        inside = np.arange(steps)[None, :, None] < lengths[:, None, None]
        last = series_NTC[np.arange(samples), lengths - 1]
        level = _total(np.where(inside, series_NTC, 0.0)) / lengths[:, None]
        spread = np.sqrt(_total(np.where(inside, series_NTC - level[:, None], 0.0) ** 2) / lengths[:, None])
        return np.stack([level, spread, last], axis=2).reshape(samples, 3 * channels), None

    names = tuple(f"{name}.{part}" for name in preprocessing.channels for part in ("level", "spread", "last"))
    return Features(numeric=names, describe=describe)


def _total(values_NTC: Numbers) -> Numbers:
    """[n, C], added up from step to step: `sum` adds in another order where it is given other shapes."""
    running: Numbers = np.cumsum(values_NTC, axis=1)
    return running[:, -1]


def _graph(preprocessing: GraphPreprocessing) -> Features:
    def whole(batch: Arrays, gaps: Gaps | None) -> tuple[Numbers, Codes | None]:
        members, graphs = batch["members"], len(batch["seeds"])
        edges = np.bincount(members[batch["edges"][:, 0]], minlength=graphs)
        return np.stack([np.bincount(members, minlength=graphs), edges], axis=1).astype(np.float64), None

    def nodes(batch: Arrays, gaps: Gaps | None) -> tuple[Numbers, Codes | None]:
        seeds = batch["seeds"].reshape(-1)
        degrees = np.bincount(batch["edges"][:, 1], minlength=len(batch["features"]))
        return np.stack([degrees[seeds], (batch["features"][seeds] != 0).sum(axis=1)], axis=1).astype(np.float64), None

    if preprocessing.answers == "graphs":
        return Features(numeric=("nodes", "edges"), describe=whole)
    return Features(numeric=("neighbours", "features"), describe=nodes)
