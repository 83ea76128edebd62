"""From the bodies of requests to samples: JSON, `.npy` and `.npz` arrays, pictures, plain text.

What a model takes is read from its bundle, and everything else is refused with the place that is wrong. One intake for
each kind of data: tables, pictures, series and texts. Nothing here runs the model, or imports torch.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from forgeline.errors import UsageError
from forgeline.suggestions import did_you_mean
from forgeline_deploy.serving.refusal import Refused, UnknownKey
from forgeline_deploy.serving.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forgeline.bundle import Bundle

JSON = "application/json"
INSTANCES = "instances"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input of the Open Inference Protocol.

    Attributes:
        name: of the input.
        datatype: of the protocol, such as `FP32`.
        shape: of an input; -1 is any number.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


class Intake(ABC):
    """What one model takes.

    Args:
        bundle: of the model.
        most_samples: in one request.
        most_pixels: of a picture.
    """

    def __init__(self, bundle: Bundle, *, most_samples: int, most_pixels: int) -> None:
        self.bundle = bundle
        self.preprocessing: Any = bundle.preprocessing
        self.most_samples = most_samples
        self.most_pixels = most_pixels

    def read(self, content_type: str, body: bytes) -> Samples:
        """The samples of a body.

        Raises:
            Refused: 400, it is not what its type says; 415, its type is none that is taken; 422, it holds what the
                model does not take.
        """
        readers = {JSON: self._read_json, **self.other_types()}
        name = content_type.partition(";")[0].strip().lower() or JSON
        if name not in readers:
            raise Refused(415, f"got Content-Type {name[:80]!r}; allowed: {', '.join(readers)}")
        samples = readers[name](body)
        if not len(samples):
            raise Refused(422, "got no sample; allowed: 1 or more", field=INSTANCES)
        if len(samples) > self.most_samples:
            raise Refused(
                422, f"got {len(samples)} samples; allowed: 1 to {self.most_samples} in one request", field=INSTANCES
            )
        return samples

    def _read_json(self, body: bytes) -> Samples:
        data = parse_json(body)
        if not isinstance(data, dict):
            raise Refused(422, f"got {kind_of(data)}; allowed: an object with `{INSTANCES}`", field="body")
        for key in data:
            if key != INSTANCES:
                raise UnknownKey(key, [INSTANCES])
        if INSTANCES not in data:
            raise Refused(422, "is missing; allowed: a list of samples", field=INSTANCES)
        instances = data[INSTANCES]
        if not isinstance(instances, list) or not instances:
            got = "an empty list" if instances == [] else kind_of(instances)
            raise Refused(422, f"got {got}; allowed: a list of 1 to {self.most_samples} samples", field=INSTANCES)
        return self.of_json(instances)

    def other_types(self) -> Mapping[str, Callable[[bytes], Samples]]:
        """Readers of what is no JSON, by content type."""
        return {}

    @abstractmethod
    def of_json(self, instances: Sequence[Any]) -> Samples:
        """Samples from a list of JSON values, which is not empty."""

    @abstractmethod
    def instance_schema(self) -> dict[str, Any]:
        """JSON Schema of one sample."""

    @abstractmethod
    def tensors(self) -> Sequence[Tensor]:
        """Inputs of the Open Inference Protocol."""

    @abstractmethod
    def of_tensors(self, inputs: Mapping[str, Any]) -> Samples:
        """Samples from all of `tensors()`: arrays, of `BYTES` lists of bytes, of their shapes."""


class TableIntake(Intake):
    """Rows as objects."""

    def __init__(self, bundle: Bundle, *, most_samples: int, most_pixels: int) -> None:
        super().__init__(bundle, most_samples=most_samples, most_pixels=most_pixels)
        self._numeric = [column.name for column in self.preprocessing.numeric]
        self._categorical = [column.name for column in self.preprocessing.categorical]

    def of_json(self, instances: Sequence[Any]) -> Samples:
        return Samples("rows", [self._row(row, number) for number, row in enumerate(instances)])

    def _row(self, row: Any, number: int) -> dict[str, Any]:
        place = f"{INSTANCES}[{number}]"
        if not isinstance(row, dict):
            raise Refused(422, f"got {kind_of(row)}; allowed: an object with a value for each column", field=place)
        kept = {}
        for name in self._numeric:
            kept[name] = value = row.get(name, _MISSING)
            # float() of a whole number with hundreds of digits would overflow.
            if value is None or (isinstance(value, float | int) and -_LARGEST < value < _LARGEST):
                continue
            self._refuse(row, name, value, place, "a number, or null where it is missing")
        for name in self._categorical:
            kept[name] = value = row.get(name, _MISSING)
            if value is None or (isinstance(value, float | int) and -_LARGEST < value < _LARGEST):
                continue
            if isinstance(value, str):
                check_text(value, f"{place}.{name}")
                continue
            self._refuse(row, name, value, place, "a text or a number, or null where it is missing")
        return kept

    @staticmethod
    def _refuse(row: Mapping[str, Any], name: str, value: Any, place: str, allowed: str) -> NoReturn:
        field = f"{place}.{name}"
        if value is _MISSING:
            others = [other for other in row if isinstance(other, str)][:100]
            hint = f" ({did_you_mean(name, others)})" if others else ""
            raise Refused(422, f"is missing; allowed: {allowed}{hint}", field=field)
        raise Refused(422, f"got {kind_of(value)}; allowed: {allowed}", field=field)

    def instance_schema(self) -> dict[str, Any]:
        number = {"type": ["number", "boolean", "null"], "exclusiveMinimum": -_LARGEST, "exclusiveMaximum": _LARGEST}
        category = number | {"type": ["string", "number", "boolean", "null"], "maxLength": LONGEST_TEXT}
        columns = {name: number for name in self._numeric} | {name: category for name in self._categorical}
        return {"type": "object", "properties": columns, "required": list(columns)}

    def tensors(self) -> Sequence[Tensor]:
        numeric = [Tensor(name, "FP64", (-1,)) for name in self._numeric]
        return [*numeric, *(Tensor(name, "BYTES", (-1,)) for name in self._categorical)]

    def of_tensors(self, inputs: Mapping[str, Any]) -> Samples:
        columns: dict[str, list[Any]] = {}
        for name in self._numeric:
            values = inputs[name].reshape(-1)
            if (np.abs(values.astype(np.float64)) >= _LARGEST).any():
                raise Refused(422, "got an infinite or huge number; allowed: numbers, NaN where missing", field=name)
            columns[name] = [None if value != value else value for value in values.tolist()]
        for name in self._categorical:
            columns[name] = [text_of(value, name) or None for value in inputs[name]]
        return Samples("rows", [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


class TextIntake(Intake):
    """Texts as strings."""

    def other_types(self) -> Mapping[str, Callable[[bytes], Samples]]:
        return {"text/plain": lambda body: self.of_json([text_of(body, "body")])}

    def of_json(self, instances: Sequence[Any]) -> Samples:
        for number, text in enumerate(instances):
            place = f"{INSTANCES}[{number}]"
            if not isinstance(text, str) or not text:
                got = "an empty text" if text == "" else kind_of(text)
                raise Refused(422, f"got {got}; allowed: a text", field=place)
            check_text(text, place)
        return Samples("texts", list(instances))

    def instance_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}

    def tensors(self) -> Sequence[Tensor]:
        return [Tensor("text", "BYTES", (-1,))]

    def of_tensors(self, inputs: Mapping[str, Any]) -> Samples:
        return self.of_json([text_of(value, "text") for value in inputs["text"]])


LONGEST_TEXT = 100_000
"""Characters; the tokenizer reads all of a text, also where the model then keeps only its end."""

_LARGEST = 1e100
_MISSING = object()


def check_text(text: str, place: str) -> None:
    """Refuse what no tokenizer should be given.

    Raises:
        Refused: 422.
    """
    if len(text) > LONGEST_TEXT:
        raise Refused(422, f"got {len(text):,} characters; allowed: at most {LONGEST_TEXT:,}", field=place)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(422, "got half of a surrogate pair; allowed: text that is valid Unicode", field=place) from error


def text_of(value: bytes, place: str) -> str:
    """Bytes as text.

    Raises:
        Refused: 422, they are no UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Refused(422, f"got byte 0x{value[error.start]:02x}, which is no UTF-8", field=place) from error


def parse_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Refused: 400, it is no JSON, has NaN or Infinity, or is nested too deeply.
    """
    try:
        # Python's own reader follows nesting by recursion, and so has an end.
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise Refused(400, "the JSON is nested too deeply", field="body") from error
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {str(error)[:200]}", field="body") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON; a missing value is null")


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        # A whole number of a thousand digits is too long to show, and to count.
        small = isinstance(value, float) or abs(value) < 10**15
        return f"the number {value:.6g}" if small and math.isfinite(value) else "an infinite or huge number"
    if isinstance(value, str):
        return f"the text {value[:40]!r}" + ("…" if len(value) > 40 else "")
    return "a list" if isinstance(value, list) else "an object"


def finite(array: NDArray[Any], place: str, *, gaps: bool = False) -> NDArray[Any]:
    """Numbers as they are, if they are.

    Raises:
        Refused: 422, one is infinite, or (without `gaps`) NaN.
    """
    if array.dtype.kind == "f":
        wrong = np.isinf(array) if gaps else ~np.isfinite(array)
        if wrong.any():
            at = [int(index) for index in np.argwhere(wrong)[0]]
            where = place + "".join(f"[{index}]" for index in at)
            raise Refused(422, f"got {array[tuple(at)]}; allowed: finite numbers", field=where)
    return array


def intake_of(bundle: Bundle, *, most_samples: int, most_pixels: int) -> Intake:
    """The intake for a model.

    Raises:
        UsageError: models of its kind are not served.
    """
    from forgeline_deploy.serving.arrays import PictureIntake, SeriesIntake

    if bundle.task == "generation":
        raise UsageError(
            f"the model makes samples ({bundle.name}), and is not served; allowed: models that predict, and language "
            "models. `forgeline sample` draws from it"
        )
    kinds: dict[str, type[Intake]] = {
        "table": TableIntake, "text": TextIntake, "pairs": TextIntake, "image": PictureIntake,
        "captions": PictureIntake, "series": SeriesIntake,
    }  # fmt: skip
    kind = bundle.preprocessing.kind
    if kind not in kinds:
        raise UsageError(
            f"the model reads data of the kind {kind}, and is not served: a graph is predicted as a whole; allowed: "
            f"{', '.join(sorted(kinds))}. `forgeline predict` takes it"
        )
    return kinds[kind](bundle, most_samples=most_samples, most_pixels=most_pixels)
