"""What the training data and the model's outputs looked like: `reference.json`, which monitoring compares against.

Distributions are kept as counts in quantile bins, in the units of the data. Inputs are taken from encoded batches, so
that training (which has nothing else) and monitoring (which encodes what it is asked) see them in the same way, rounded
alike; of an image its mean intensity and contrast, of a series its level, spread and last value, of a text its tokens,
of a node of a graph its neighbours and how many of its features are set; of a whole graph its nodes and edges.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from forgeline.bundle.inference import sample_count
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.distributions.limits import Count
from forgeline.errors import BundleError
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

# Ten thousand columns of 64 bins are about 30 MiB; anything past this is no reference.
LARGEST_BYTES = 64 * 2**20
# Of probabilities, many of which are 1 but for rounding: what batch size, threads and device change is smaller by far.
_RESOLUTION = 1e-4

Arrays = Mapping[str, NDArray[Any]]
Values = NDArray[Any] | Counter[str]
"""Numbers per sample (NaN missing), or how often each category was seen ("" missing)."""

_Name = Annotated[str, StringConstraints(max_length=2**16)]
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
    samples: Count
    inputs: dict[_Name, Distribution]
    outputs: dict[_Name, Distribution] = Field(default_factory=dict)

    @classmethod
    def of(
        cls, preprocessing: Preprocessing, batches: Iterable[Arrays], outputs: NDArray[Any] | None = None
    ) -> Reference:
        """The reference of encoded batches, and of a model's outputs (probabilities or standardised predictions)."""
        samples = 0
        seen: dict[str, list[Values]] = {}
        for batch in batches:
            samples += sample_count(batch)
            for name, values in input_values(preprocessing, batch).items():
                seen.setdefault(name, []).append(values)
        return cls(
            samples=samples,
            inputs={name: _distribution(parts) for name, parts in seen.items()},
            outputs={} if outputs is None else output_references(preprocessing, outputs),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The reference in a file of a bundle, which may come from anywhere.

        Raises:
            BundleError: it cannot be read, is too large, or is not a reference.
        """
        try:
            size = path.stat().st_size
            if size > LARGEST_BYTES:
                raise BundleError(f"{path} has {size:,} bytes; reference statistics have at most {LARGEST_BYTES:,}")
            return cls.model_validate(json.loads(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BundleError(f"{path} holds no reference statistics: {where}: {first['msg']}") from error
        except (ValueError, OSError, RecursionError) as error:
            raise BundleError(f"{path} cannot be read: {error}") from error


def input_values(preprocessing: Preprocessing, batch: Arrays) -> dict[str, Values]:
    """What a batch is described by."""
    observers: dict[str, Any] = {
        "table": _table,
        "image": _image,
        "series": _series,
        "text": _text,
        "pairs": _text,
        "captions": _captions,
        "graph": _graph,
    }
    return cast("dict[str, Values]", observers[preprocessing.kind](preprocessing, batch))


def output_values(preprocessing: Preprocessing, outputs: NDArray[Any]) -> dict[str, Values]:
    """What a model's outputs (probabilities or standardised predictions) are described by."""
    outputs = np.asarray(outputs)
    classes = preprocessing.classes
    if classes is not None:
        predicted = np.bincount(outputs.argmax(axis=1), minlength=len(classes))
        return {
            "prediction": Counter(dict(zip(classes, map(int, predicted), strict=True))),
            "probability": outputs.max(axis=1),
        }
    if preprocessing.target is None:
        return {}
    if isinstance(preprocessing.target, AnomalyTarget):
        return {"score": outputs[:, 0]}
    names = [column["name"] for column in preprocessing.target.columns()]
    values = preprocessing.unscale(outputs).reshape(len(outputs), -1)
    return {name: values[:, number] for number, name in enumerate(names)}


def output_references(
    preprocessing: Preprocessing, outputs: NDArray[Any]
) -> dict[str, NumericReference | CategoricalReference]:
    """References of a model's outputs."""
    described = output_values(preprocessing, outputs)
    resolution = _RESOLUTION if preprocessing.classes is not None else None
    return {name: _distribution([values], resolution=resolution) for name, values in described.items()}


def _distribution(parts: list[Values], *, resolution: float | None = None) -> NumericReference | CategoricalReference:
    if isinstance(parts[0], Counter):
        total: Counter[str] = Counter()
        for part in parts:
            total.update(cast("Counter[str]", part))  # `+` would drop classes that were never predicted
        missing = total.pop("", 0)
        return CategoricalReference.of(total.keys(), total.values(), missing=missing)
    values = np.concatenate([part for part in parts if not isinstance(part, Counter)])
    return NumericReference.of(values, resolution=resolution)


def _table(preprocessing: TablePreprocessing, batch: Arrays) -> dict[str, Values]:
    values: dict[str, Values] = {}
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


def _image(preprocessing: ImagePreprocessing, batch: Arrays) -> dict[str, Values]:
    mean, std = (np.asarray(part)[None, :, None, None] for part in (preprocessing.mean, preprocessing.std))
    pixels_NCHW = batch["image"] * std + mean
    return {"intensity": pixels_NCHW.mean(axis=(1, 2, 3)), "contrast": pixels_NCHW.std(axis=(1, 2, 3))}


def _captions(preprocessing: CaptionPreprocessing, batch: Arrays) -> dict[str, Values]:
    return _image(preprocessing.image, batch)


def _series(preprocessing: SeriesPreprocessing, batch: Arrays) -> dict[str, Values]:
    values: dict[str, Values] = {}
    series_NTC = batch["series"].astype(np.float64) * preprocessing.std + preprocessing.mean
    lengths = np.asarray(batch.get("length", np.full(len(series_NTC), series_NTC.shape[1])))
    inside = np.arange(series_NTC.shape[1])[None, :, None] < lengths[:, None, None]
    last = series_NTC[np.arange(len(series_NTC)), lengths - 1]
    mean = series_NTC.mean(axis=1, where=inside)
    std = series_NTC.std(axis=1, where=inside)
    for number, name in enumerate(preprocessing.channels):
        values |= {f"{name}.level": mean[:, number], f"{name}.spread": std[:, number], f"{name}.last": last[:, number]}
    return values


def _text(preprocessing: TextPreprocessing | PairPreprocessing, batch: Arrays) -> dict[str, Values]:
    tokens_NT = batch["source" if preprocessing.kind == "pairs" else "tokens"]
    lengths = np.asarray(batch.get("length", np.full(len(tokens_NT), tokens_NT.shape[1])))
    inside = np.arange(tokens_NT.shape[1])[None, :] < lengths[:, None]
    ids, counts = np.unique(tokens_NT[inside], return_counts=True)
    # By number, because several tokens of a byte-level vocabulary have no text of their own.
    return {
        "length": lengths,
        "token": Counter({str(int(i)): int(count) for i, count in zip(ids, counts, strict=True)}),
    }


def _graph(preprocessing: GraphPreprocessing, batch: Arrays) -> dict[str, Values]:
    if preprocessing.answers == "graphs":
        members = batch["members"]
        edges = np.bincount(members[batch["edges"][:, 0]], minlength=len(batch["seeds"]))
        return {"nodes": np.bincount(members), "edges": edges}
    seeds = batch["seeds"].reshape(-1)
    degrees = np.bincount(batch["edges"][:, 1], minlength=len(batch["features"]))
    return {"neighbours": degrees[seeds], "features": (batch["features"][seeds] != 0).sum(axis=1)}
