"""Samples that other data encoded, brought into the encoding of the model that is measured on them.

Data are encoded by what was fitted on their own train split. That is the model's own encoding when they are the data
that it was trained on; any others would be measured with other means, vocabularies and orders of classes, and nothing
would look wrong. So their samples are decoded by their preprocessing and encoded again by the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing import AnomalyTarget, ClassTarget, ScaledTarget
from forgeline.suggestions import did_you_mean
from forgeline_jobs.data.packing import IGNORED

if TYPE_CHECKING:
    import pandas as pd

    from forgeline.preprocessing import (
        GraphPreprocessing,
        ImagePreprocessing,
        Preprocessing,
        SeriesPreprocessing,
        TablePreprocessing,
        TextPreprocessing,
    )

Arrays = dict[str, NDArray[Any]]
_KEY = "data"


class Translation:
    """From one preprocessing's arrays to another's.

    Args:
        source: what the data were encoded by.
        model: what the model was trained with.

    Raises:
        DataError: the data are of another kind, or lack what the model reads.
    """

    def __init__(self, source: Preprocessing, model: Preprocessing) -> None:
        self.source = source
        self.model = model
        # The threshold is the model's own: data have none.
        anomalies = isinstance(source.target, AnomalyTarget) and isinstance(model.target, AnomalyTarget)
        alike = source.model_copy(update={"target": model.target}) if anomalies else source
        self.needed = alike != model
        if not self.needed:
            return
        if source.kind != model.kind:
            raise DataError(f"the data are {source.kind}, the model takes {model.kind}; change data.name", key=_KEY)
        if isinstance(source.target, ClassTarget) != isinstance(model.target, ClassTarget):
            raise DataError("the data and the model have different tasks; change data.name or model", key=_KEY)
        if model.kind in ("pairs", "captions"):
            what = "symbols or lengths" if model.kind == "pairs" else "words, lengths or pictures"
            raise DataError(
                f"the data have other {what} than those that the model was trained on; change data.name or model",
                key=_KEY,
            )
        checks: dict[str, Any] = {
            "table": _check_table,
            "image": _check_image,
            "series": _check_series,
            "graph": _check_graph,
        }
        checks.get(model.kind, _check_text)(source, model)
        self._classes = _classes(source, model)

    def inputs(self, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """Encoded inputs, as the model takes them."""
        if not self.needed or self.model.kind in {"text", "graph"}:
            return dict(arrays)
        raw: dict[str, Any] = {"table": _table, "image": _image, "series": _series}
        encoded: Arrays = self.model.encode(raw[self.model.kind](self.source, self.model, arrays))
        if "clean" in arrays:  # what a noisy picture was
            encoded["clean"] = self.inputs({"image": arrays["clean"]})["image"]
        return encoded

    def targets(self, targets: NDArray[Any]) -> NDArray[Any]:
        """Class numbers or standardised numbers, as the model gives them."""
        if not self.needed:
            return targets
        if self._classes is not None:
            known = targets != IGNORED  # tokens that nothing is asked about
            numbers: NDArray[np.int64] = np.where(known, self._classes[np.where(known, targets, 0)], IGNORED)
            return numbers
        if isinstance(self.source.target, ScaledTarget) and isinstance(self.model.target, ScaledTarget):
            return self.model.target.encode(self.source.target.unscale(targets))
        return targets


def _classes(source: Preprocessing, model: Preprocessing) -> NDArray[np.int64] | None:
    """The model's number for each class of the data."""
    if source.classes is None or model.classes is None:
        return None
    for name in source.classes:
        if name not in model.classes:
            raise DataError(
                f"the data have the class {name!r}, which the model does not know; {did_you_mean(name, model.classes)}",
                key=_KEY,
            )
    return np.asarray([model.classes.index(name) for name in source.classes], dtype=np.int64)


def _check_table(source: TablePreprocessing, model: TablePreprocessing) -> None:
    for kind, have, wanted in (
        ("numeric", source.numeric, model.numeric),
        ("categorical", source.categorical, model.categorical),
    ):
        names = [column.name for column in have]
        for column in wanted:
            if column.name not in names:
                other = f"; it is there, but not {kind}" if column.name in source.names else ""
                raise DataError(
                    f"the data have no {kind} column {column.name!r}, which the model reads{other}; "
                    f"{did_you_mean(column.name, names)}",
                    key=_KEY,
                )


def _check_image(source: ImagePreprocessing, model: ImagePreprocessing) -> None:
    theirs, mine = ((part.height, part.width, part.channels) for part in (source, model))
    if theirs != mine:
        raise DataError(f"the images are {theirs} (height, width, channels), the model takes {mine}", key=_KEY)


def _check_series(source: SeriesPreprocessing, model: SeriesPreprocessing) -> None:
    theirs, mine = ((part.channels, part.window, part.horizon) for part in (source, model))
    if theirs != mine:
        raise DataError(f"the series have channels, window and horizon {theirs}, the model takes {mine}", key=_KEY)


def _check_graph(source: GraphPreprocessing, model: GraphPreprocessing) -> None:
    for name in ("features", "normalise_rows", "undirected", "answers", "edge_features"):
        theirs, mine = getattr(source, name), getattr(model, name)
        if theirs != mine:
            raise DataError(f"the graph has {name} {theirs}, the model was trained with {mine}", key=_KEY)


def _check_text(source: TextPreprocessing, model: TextPreprocessing) -> None:
    if source.tokenizer != model.tokenizer:
        raise DataError(
            "the text is cut into other tokens than the model knows, so their losses cannot be compared; "
            "measure on the data that the model was trained on, or train on these",
            key=_KEY,
        )


def _table(source: TablePreprocessing, model: TablePreprocessing, arrays: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    return table_of(source, arrays)


def table_of(source: TablePreprocessing, arrays: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """The columns that encoded rows were made from, numbers in their own units, unknown categories as missing."""
    import pandas as pd

    columns: dict[str, Any] = {}
    flag = len(source.numeric)
    for number, column in enumerate(source.numeric):
        values = arrays["numeric"][:, number].astype(np.float64) * column.std + column.mean
        if column.flag_missing:
            values = np.where(arrays["numeric"][:, flag] > 0.5, np.nan, values)
            flag += 1
        columns[column.name] = values
    for number, category in enumerate(source.categorical):
        names = np.asarray([None, *category.categories], dtype=object)
        columns[category.name] = names[arrays["categorical"][:, number]]
    return pd.DataFrame(columns)


def _image(
    source: ImagePreprocessing, model: ImagePreprocessing, arrays: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    pixels_NHWC = arrays["image"].transpose(0, 2, 3, 1).astype(np.float64)
    # Files are brought to the brightest value of the data, so equal images have equal shares of it.
    return (pixels_NHWC * source.std + source.mean) * model.pixel_max


def _series(
    source: SeriesPreprocessing, model: SeriesPreprocessing, arrays: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    series_NTC = arrays["series"].astype(np.float64) * source.std + source.mean
    if "length" in arrays:
        outside = np.arange(series_NTC.shape[1])[None, :] >= arrays["length"][:, None]
        series_NTC[outside] = np.nan
    return series_NTC
