"""A gate, and the samples that it is measured on, as they are named on a command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from forgeline import plugins
from forgeline.bundle.manifest import sha256_of
from forgeline.bundle.tables import TableFile, is_table
from forgeline.errors import DataError, SpecError
from forgeline.preprocessing.target import ClassTarget, ScaledTarget
from forgeline.registry.answers import Arrays, GateData
from forgeline.registry.conditions import GATE, AnyGate
from forgeline.spec.source import parse_value

if TYPE_CHECKING:
    from forgeline.bundle import Bundle

_GATE, _DATA = "--gate", "--data"
_LARGEST_BYTES = 2**20


def read_gate(text: str) -> AnyGate:
    """A gate from a YAML file, or from YAML itself.

    Raises:
        SpecError: it is none.
    """
    value = _yaml(text, _GATE)
    if isinstance(value, Mapping) and set(value) == {"gate"}:
        value = value["gate"]
    try:
        return GATE.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if not isinstance(part, str) or part not in _TAGS)
        raise SpecError(first["msg"], key=f"{_GATE} {place}".strip()) from error


_TAGS = ("list", "metric", "bounded", "calibration", "export")


def gate_data(bundle: Bundle, given: str | None) -> GateData:
    """The samples to measure a model on.

    Args:
        bundle: the model.
        given: a CSV or Parquet file with the target in it, or a `data` block as YAML or a YAML file; None for the data
            that the model was trained on.

    Raises:
        DataError: they are not there, or changed since the model was trained.
        SpecError: they cannot be read so.
    """
    if given is not None and is_table(Path(given)):
        return TableGateData(Path(given))
    block = bundle.data.config if given is None and bundle.data is not None else None
    if given is not None:
        block = _yaml(given, _DATA)
    if not isinstance(block, Mapping) or not isinstance(block.get("name"), str):
        raise SpecError(f"got {given!r}; allowed: a CSV or Parquet file, or `{{name: …}}` as in `data`", key=_DATA)
    source = plugins.find(plugins.DATA, block["name"], key=f"{_DATA} name")
    make = getattr(source, "gate_data", None)  # which a plug-in of somebody else may not have
    if make is None:
        raise SpecError(f"the data {block['name']!r} cannot be used by a gate; give a file", key=_DATA)
    found = cast(GateData, make(block))
    if given is None and bundle.data is not None and found.fingerprint != bundle.data.fingerprint:
        raise DataError(
            f"the data {found.name!r} changed since the model was trained: fingerprint {found.fingerprint[:12]}, then "
            f"{bundle.data.fingerprint[:12]}; name data to measure on them all the same",
            key=_DATA,
        )
    return found


class TableGateData:
    """The rows of a CSV or Parquet file, all of them held out: every split is the whole of it.

    Args:
        path: of the file, with the target's column.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.fingerprint = sha256_of(path)
        self._path = path

    def batches(self, bundle: Bundle, split: str) -> Iterator[tuple[Arrays, NDArray[Any]]]:
        """All rows in order, encoded as the bundle's model takes them, with their targets as it gives them.

        Raises:
            DataError: a column is missing, or the model is not for tables.
        """
        preprocessing = bundle.preprocessing
        target = preprocessing.target
        if preprocessing.kind != "table" or not isinstance(target, ClassTarget | ScaledTarget):
            raise DataError(f"{self._path} is a table, the model is not for tables", key=_DATA)
        table = TableFile(self._path, key=_DATA, texts=preprocessing.texts)
        table.require([target.name] if isinstance(target, ClassTarget) else list(target.names), key=_DATA)
        for piece in table.pieces():
            if isinstance(target, ClassTarget):
                yield preprocessing.encode(piece), target.encode(piece[target.name])
            else:
                yield preprocessing.encode(piece), target.encode(piece[list(target.names)].to_numpy(np.float64))

    def columns(self, split: str) -> Mapping[str, NDArray[Any]]:
        """Every column of the file."""
        parts = list(TableFile(self._path, key=_DATA).pieces())
        return {str(name): np.concatenate([part[name].to_numpy() for part in parts]) for name in parts[0].columns}


def _yaml(text: str, key: str) -> Any:
    path = Path(text)
    try:
        if len(text) < 4096 and "\n" not in text and path.is_file():
            if path.stat().st_size > _LARGEST_BYTES:
                raise SpecError(f"{path} is larger than {_LARGEST_BYTES:,} bytes", key=key)
            return parse_value(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{text[:80]} cannot be read: {error}", key=key) from error
    return parse_value(text, source=key)
