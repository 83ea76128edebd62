"""The samples of prepared data as a gate asks for them: in the encoding of whichever model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.suggestions import did_you_mean
from forgeline_jobs.data.base import SPLITS, as_int64
from forgeline_jobs.evaluate.translation import Translation, table_of

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.preprocessing import TablePreprocessing
    from forgeline_jobs.data.base import Batch, PreparedData, Split

_DIGITS = 6  # that float32 keeps of a column's largest number


class PreparedGateData:
    """A `forgeline.registry.answers.GateData` over prepared data.

    Args:
        name: of the data source.
        data: what it prepared.
        batch_size: samples that are read together.
    """

    def __init__(self, name: str, data: PreparedData, *, batch_size: int) -> None:
        self.name = name
        self.fingerprint = data.fingerprint
        self._data = data
        self._batch_size = batch_size

    def batches(self, bundle: Bundle, split: str) -> Iterator[tuple[Mapping[str, NDArray[Any]], NDArray[Any]]]:
        """A split's samples in order, encoded as the bundle's model takes them, with their targets as it gives them.

        Raises:
            DataError: the model does not take such data.
        """
        if self._data.signature.task != bundle.task:
            raise DataError(f"the data are for {self._data.signature.task}, the model is for {bundle.task}")
        translation = Translation(self._data.preprocessing, bundle.preprocessing)
        for batch in self._batches(split):
            targets = translation.targets(batch.pop("target"))
            yield translation.inputs(batch), targets

    def columns(self, split: str) -> Mapping[str, NDArray[Any]]:
        """The columns of a table that a model reads, in their own units; nothing of other data."""
        if self._data.preprocessing.kind != "table":
            return {}
        preprocessing: TablePreprocessing = self._data.preprocessing
        parts = [table_of(preprocessing, batch) for batch in self._batches(split)]
        names = list(parts[0].columns)
        whole = {name: np.concatenate([part[name].to_numpy() for part in parts]) for name in names}
        return {name: _as_written(values) for name, values in whole.items()}

    def _batches(self, split: str) -> Iterator[Batch]:
        chosen = self._split(split)
        for start in range(0, len(chosen), self._batch_size):
            yield chosen.batch(as_int64(range(start, min(start + self._batch_size, len(chosen)))))

    def _split(self, split: str) -> Split:
        for name in SPLITS:
            if name == split and name in self._data.splits:
                return self._data.splits[name]
        raise DataError(f"no split {split!r}; {did_you_mean(split, list(self._data.splits))}")


def _as_written(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers that were float32 in between, rounded so that one that was 13 is no 12.999999."""
    if values.dtype.kind != "f" or not np.any(np.isfinite(values)):
        return values
    largest = float(np.nanmax(np.abs(values)))
    return values if largest == 0 else np.round(values, _DIGITS - 1 - int(np.floor(np.log10(largest))))
