"""What the training data and the model's outputs looked like: `reference.json`, which monitoring compares against.

Distributions are kept as counts in quantile bins, in the units of the data. Inputs are taken from encoded batches, so
that training (which has nothing else) and monitoring (which encodes what it is asked) see them in the same way; of an
image its mean intensity and contrast, of a series its level, spread and last value, of a text its tokens, of a node of
a graph its neighbours and how many of its features are set; of a whole graph its nodes and edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from forgeline.bundle.inference import sample_count
from forgeline.preprocessing.target import AnomalyTarget

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

BINS = 20
# Rarer categories and tokens are counted together: a reference must not grow with a vocabulary.
MOST_CATEGORIES = 200
OTHER = "other"

Arrays = Mapping[str, NDArray[Any]]


class NumericReference(BaseModel):
    """Numbers, as counts in bins that each held the same share of the reference.

    Attributes:
        edges: inner edges, ascending; bin i is (edges[i-1], edges[i]], the outermost two are open.
        counts: values per bin, one more than edges.
        missing: values that were missing, not part of the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["numeric"] = "numeric"
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int
    mean: float
    std: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: NDArray[Any], *, bins: int = BINS) -> NumericReference:
        """The reference of values in which NaN is missing."""
        wide = np.asarray(values, dtype=np.float64).ravel()
        known = wide[np.isfinite(wide)]
        if not len(known):
            return cls(edges=(), counts=(0,), missing=len(wide), mean=0.0, std=0.0, minimum=0.0, maximum=0.0)
        # Values that fill several quantiles by themselves leave fewer bins than asked for.
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
        edges = edges[edges < known.max()]
        return cls(
            edges=tuple(map(float, edges)),
            counts=tuple(map(int, _binned(known, edges))),
            missing=len(wide) - len(known),
            mean=float(known.mean()),
            std=float(known.std()),
            minimum=float(known.min()),
            maximum=float(known.max()),
        )

    def count(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Other values, counted in the same bins; missing ones are left out."""
        wide = np.asarray(values, dtype=np.float64).ravel()
        return _binned(wide[np.isfinite(wide)], np.asarray(self.edges))


class CategoricalReference(BaseModel):
    """Categories with their counts.

    Attributes:
        counts: per category, the rarest together under `other`.
        missing: values that were missing or of no known category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["categorical"] = "categorical"
    counts: dict[str, int]
    other: int = 0
    missing: int = 0

    @classmethod
    def of(cls, names: Iterable[str], counts: Iterable[int], *, missing: int = 0) -> CategoricalReference:
        """The reference of named counts."""
        ranked = sorted(zip(names, counts, strict=True), key=lambda item: -item[1])
        kept = {name: int(count) for name, count in ranked[:MOST_CATEGORIES]}
        return cls(counts=kept, other=int(sum(count for _, count in ranked[MOST_CATEGORIES:])), missing=missing)


Distribution = Annotated[NumericReference | CategoricalReference, Field(discriminator="kind")]


class Reference(BaseModel):
    """Distributions by name.

    Attributes:
        samples: how many samples the inputs were taken from.
        inputs: per column, or per property of an image, a series, a text or a node.
        outputs: of the model: `prediction` by class or in units of the target, `probability` of the predicted class,
            or the `score` that tells anomalies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    samples: int
    inputs: dict[str, Distribution]
    outputs: dict[str, Distribution] = Field(default_factory=dict)

    @classmethod
    def of(
        cls, preprocessing: Preprocessing, batches: Iterable[Arrays], outputs: NDArray[Any] | None = None
    ) -> Reference:
        """The reference of encoded batches, and of a model's outputs (probabilities or standardised predictions)."""
        samples = 0
        seen: dict[str, list[NDArray[Any] | Counter[str]]] = {}
        for batch in batches:
            samples += sample_count(batch)
            for name, values in input_values(preprocessing, batch).items():
                seen.setdefault(name, []).append(values)
        return cls(
            samples=samples,
            inputs={name: _distribution(parts) for name, parts in seen.items()},
            outputs={} if outputs is None else output_references(preprocessing, outputs),
        )


def input_values(preprocessing: Preprocessing, batch: Arrays) -> dict[str, NDArray[Any] | Counter[str]]:
    """What a batch is described by: numbers per sample (NaN missing), or counts of categories ("" missing)."""
    observers: dict[str, Any] = {
        "table": _table,
        "image": _image,
        "series": _series,
        "text": _text,
        "pairs": _text,
        "captions": _captions,
        "graph": _graph,
    }
    return cast("dict[str, NDArray[Any] | Counter[str]]", observers[preprocessing.kind](preprocessing, batch))


def output_references(
    preprocessing: Preprocessing, outputs: NDArray[Any]
) -> dict[str, NumericReference | CategoricalReference]:
    """References of a model's outputs."""
    outputs = np.asarray(outputs)
    classes = preprocessing.classes
    if classes is not None:
        predicted = np.bincount(outputs.argmax(axis=1), minlength=len(classes))
        return {
            "prediction": CategoricalReference.of(classes, map(int, predicted)),
            "probability": NumericReference.of(outputs.max(axis=1)),
        }
    if preprocessing.target is None:
        return {}
    if isinstance(preprocessing.target, AnomalyTarget):
        return {"score": NumericReference.of(outputs[:, 0])}
    names = [column["name"] for column in preprocessing.target.columns()]
    values = preprocessing.unscale(outputs).reshape(len(outputs), -1)
    return {name: NumericReference.of(values[:, number]) for number, name in enumerate(names)}


def _distribution(parts: list[NDArray[Any] | Counter[str]]) -> NumericReference | CategoricalReference:
    if isinstance(parts[0], Counter):
        total: Counter[str] = sum((part for part in parts if isinstance(part, Counter)), Counter())
        missing = total.pop("", 0)
        return CategoricalReference.of(total.keys(), total.values(), missing=missing)
    return NumericReference.of(np.concatenate([part for part in parts if not isinstance(part, Counter)]))


def _binned(known: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)


def _table(preprocessing: TablePreprocessing, batch: Arrays) -> dict[str, NDArray[Any] | Counter[str]]:
    values: dict[str, NDArray[Any] | Counter[str]] = {}
    flagged = len(preprocessing.numeric)
    for number, column in enumerate(preprocessing.numeric):
        raw = batch["numeric"][:, number].astype(np.float64) * column.std + column.mean
        if column.flag_missing:
            raw = np.where(batch["numeric"][:, flagged] > 0.5, np.nan, raw)
            flagged += 1
        values[column.name] = raw
    for number, category in enumerate(preprocessing.categorical):
        counts = np.bincount(batch["categorical"][:, number], minlength=len(category.categories) + 1)
        names = ("", *category.categories)
        values[category.name] = Counter({name: int(count) for name, count in zip(names, counts, strict=True) if count})
    return values


def _image(preprocessing: ImagePreprocessing, batch: Arrays) -> dict[str, NDArray[Any] | Counter[str]]:
    mean, std = (np.asarray(part)[None, :, None, None] for part in (preprocessing.mean, preprocessing.std))
    pixels_NCHW = batch["image"] * std + mean
    return {"intensity": pixels_NCHW.mean(axis=(1, 2, 3)), "contrast": pixels_NCHW.std(axis=(1, 2, 3))}


def _captions(preprocessing: CaptionPreprocessing, batch: Arrays) -> dict[str, NDArray[Any] | Counter[str]]:
    return _image(preprocessing.image, batch)


def _series(preprocessing: SeriesPreprocessing, batch: Arrays) -> dict[str, NDArray[Any] | Counter[str]]:
    values: dict[str, NDArray[Any] | Counter[str]] = {}
    series_NTC = batch["series"].astype(np.float64) * preprocessing.std + preprocessing.mean
    lengths = np.asarray(batch.get("length", np.full(len(series_NTC), series_NTC.shape[1])))
    inside = np.arange(series_NTC.shape[1])[None, :, None] < lengths[:, None, None]
    last = series_NTC[np.arange(len(series_NTC)), lengths - 1]
    mean = series_NTC.mean(axis=1, where=inside)
    std = series_NTC.std(axis=1, where=inside)
    for number, name in enumerate(preprocessing.channels):
        values |= {f"{name}.level": mean[:, number], f"{name}.spread": std[:, number], f"{name}.last": last[:, number]}
    return values


def _text(
    preprocessing: TextPreprocessing | PairPreprocessing, batch: Arrays
) -> dict[str, NDArray[Any] | Counter[str]]:
    tokens_NT = batch["source" if preprocessing.kind == "pairs" else "tokens"]
    lengths = np.asarray(batch.get("length", np.full(len(tokens_NT), tokens_NT.shape[1])))
    inside = np.arange(tokens_NT.shape[1])[None, :] < lengths[:, None]
    ids, counts = np.unique(tokens_NT[inside], return_counts=True)
    # By number, because several tokens of a byte-level vocabulary have no text of their own.
    return {
        "length": lengths,
        "token": Counter({str(int(i)): int(count) for i, count in zip(ids, counts, strict=True)}),
    }


def _graph(preprocessing: GraphPreprocessing, batch: Arrays) -> dict[str, NDArray[Any] | Counter[str]]:
    if preprocessing.answers == "graphs":
        members = batch["members"]
        edges = np.bincount(members[batch["edges"][:, 0]], minlength=len(batch["seeds"]))
        return {"nodes": np.bincount(members), "edges": edges}
    seeds = batch["seeds"].reshape(-1)
    degrees = np.bincount(batch["edges"][:, 1], minlength=len(batch["features"]))
    return {"neighbours": degrees[seeds], "features": (batch["features"][seeds] != 0).sum(axis=1)}
