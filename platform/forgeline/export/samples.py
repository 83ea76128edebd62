"""Real samples of a bundle: of the data that it was trained on, prepared again, or of a file of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from forgeline import plugins
from forgeline.errors import DataError, UsageError
from forgeline.preprocessing import ClassTarget, ScaledTarget

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.plugins import DataDescriptor


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Encoded samples.

    Attributes:
        name: where they are from, for people.
        arrays: by name, as the model's preprocessing encodes them.
        targets: encoded as the data set has them; None where there are none.
    """

    name: str
    arrays: Mapping[str, NDArray[Any]]
    targets: NDArray[Any] | None = None


class TrainingData:
    """The data that a bundle was trained on, prepared again from what the bundle says of them.

    Args:
        bundle: the model.

    Raises:
        UsageError: it does not say what it was trained on.
        DataError: the data are not what they were.
    """

    def __init__(self, bundle: Bundle) -> None:
        record = bundle.data
        if record is None:
            raise UsageError("the model does not say what it was trained on; give --data FILE and --calibrate FILE")
        source = cast("DataDescriptor", plugins.find(plugins.DATA, record.name, key="data.name"))
        self._name = record.name
        self._data: Any = source.prepare(source.config_model().model_validate(record.config))
        if self._data.fingerprint != record.fingerprint:
            raise DataError(
                f"the data {record.name!r} changed since the model was trained: fingerprint "
                f"{self._data.fingerprint[:12]}, then {record.fingerprint[:12]}; give --data FILE and --calibrate FILE"
            )

    def split(self, name: str, most: int) -> Samples:
        """The first samples of a split, which is in no order: what augments them in training is left out.

        Args:
            name: `train`, `val` or `test`.
            most: samples, at least 1; a graph comes whole.
        """
        split = self._data.splits[name]
        count = min(most, len(split))
        arrays = dict(split.batch(np.arange(count, dtype=np.int64)))
        targets = arrays.pop("target", None)
        return Samples(name=f"{count:,} samples of {self._name}, {name}", arrays=arrays, targets=targets)


def samples_of_file(bundle: Bundle, path: Path, most: int) -> Samples:
    """The first samples of a file or a folder, with targets where it is a table that has them.

    Raises:
        DataError: it is not what the model takes.
    """
    preprocessing = bundle.preprocessing
    raw: Any = preprocessing.read(path)
    if hasattr(raw, "iloc"):
        raw = raw.iloc[:most]
    elif isinstance(raw, list):
        raw = raw[:most]
    arrays = preprocessing.encode(raw)
    targets = _targets(preprocessing.target, raw) if preprocessing.kind == "table" else None
    count = len(next(iter(arrays.values())))
    return Samples(name=f"{count:,} samples of {path}", arrays=arrays, targets=targets)


def _targets(target: Any, table: Any) -> NDArray[Any] | None:
    names = [target.name] if isinstance(target, ClassTarget) else list(getattr(target, "names", []))
    if not names or not set(names) <= set(table.columns):
        return None
    if isinstance(target, ClassTarget):
        return target.encode(table[target.name])
    if isinstance(target, ScaledTarget):
        values = table[names].to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"the columns {', '.join(names)} have values that are missing or no numbers")
        return target.encode(values)
    return None
