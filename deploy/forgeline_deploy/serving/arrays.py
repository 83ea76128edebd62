"""Pictures and series from requests: nested lists, `.npy` and `.npz`, PNG and JPEG."""

from __future__ import annotations

import base64
import binascii
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from forgeline.errors import DataError
from forgeline_deploy.serving.intake import INSTANCES, Intake, Tensor, finite, kind_of
from forgeline_deploy.serving.pictures import opened
from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPY, NPZ = "application/x-npy", "application/x-npz"
_LONGEST_HEADER = 4096
_MOST_MEMBERS = 16
_DEEPEST = 8
# What an array may grow to when it is unpacked from a zip file: so many bytes for each that was sent, within bounds.
_UNPACKED_PER_BYTE = 100
_UNPACKED = (2**20, 64 * 2**20)


class PictureIntake(Intake):
    """Pictures [h, w] or [h, w, c], in the units of the training data, or as files."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Captions are about pictures, which have a preprocessing of their own.
        self._image: Any = getattr(self.preprocessing, "image", self.preprocessing)

    def other_types(self) -> Mapping[str, Callable[[bytes], Samples]]:
        return {
            NPY: lambda body: self._of_array(read_npy(body), "body"),
            NPZ: lambda body: self._of_array(read_npz(body, "images"), "images"),
            "image/png": lambda body: self._of_files([body], ["body"]),
            "image/jpeg": lambda body: self._of_files([body], ["body"]),
        }

    def of_json(self, instances: Sequence[Any]) -> Samples:
        if any(isinstance(one, dict) for one in instances):
            places = [f"{INSTANCES}[{number}]" for number in range(len(instances))]
            return self._of_files([_decoded(one, place) for one, place in zip(instances, places, strict=True)], places)
        array = nested(instances, INSTANCES)
        if array.ndim not in (3, 4):
            raise self._wrong_shape(array.shape[1:], f"{INSTANCES}[0]")
        return self._of_array(array, INSTANCES)

    def _of_array(self, array: NDArray[Any], place: str) -> Samples:
        if array.dtype.kind not in "biuf":
            raise Refused(422, f"got an array of {array.dtype}; allowed: numbers", field=place)
        # A single picture is told apart from many as `forgeline predict` tells it.
        if array.ndim in (2, 3) and place != INSTANCES and self._image.is_one(array):
            array = array[None]
        if array.ndim not in (3, 4) or not self._fits(array.shape[1:]):
            raise self._wrong_shape(array.shape[1:] if array.ndim in (3, 4) else array.shape, place)
        finite(array, place)
        try:
            # Here, where nobody else's pictures are beside these: what one has cannot hide what another lacks.
            self._image.check_units(array)
        except DataError as error:
            raise Refused(422, error.message, field=place) from error
        return Samples("pixels", _narrow(array))

    def _fits(self, shape: tuple[int, ...]) -> bool:
        height, width, channels = self._image.height, self._image.width, self._image.channels
        if len(shape) == 3 and shape[2] not in {1, channels}:
            return False
        if len(shape) == 2 and channels not in (1, 3):
            return False
        if self._image.resize:
            return 0 < shape[0] * shape[1] <= self.most_pixels
        return shape[:2] == (height, width)

    def _wrong_shape(self, shape: tuple[int, ...], place: str) -> Refused:
        height, width, channels = self._image.height, self._image.width, self._image.channels
        size = f"[h, w] of at most {self.most_pixels:,} pixels" if self._image.resize else f"[{height}, {width}]"
        return Refused(
            422,
            f"got the shape {list(shape)}; allowed: {size}, or the same with {channels} channels behind it",
            field=place,
        )

    def _of_files(self, files: Sequence[bytes], places: Sequence[str]) -> Samples:
        for file, place in zip(files, places, strict=True):
            try:
                image = opened(file, most_pixels=self.most_pixels)
            except DataError as error:
                raise Refused(422, error.message, field=place) from error
            # A camera's file may lie on its side until it is turned: only the replica knows, and refuses it then.
            size = {(image.height, image.width), (image.width, image.height)}
            if not self._image.resize and (self._image.height, self._image.width) not in size:
                raise self._wrong_shape((image.height, image.width), place)
        return Samples("files", list(files))

    def instance_schema(self) -> dict[str, Any]:
        pixel = {"type": "number", "description": f"0 to {self._image.pixel_max:g}, as in the training data"}
        bounds = {} if self._image.resize else {"minItems": self._image.width, "maxItems": self._image.width}
        rows = {} if self._image.resize else {"minItems": self._image.height, "maxItems": self._image.height}
        channels = {"type": "array", "items": pixel, "minItems": 1, "maxItems": self._image.channels}
        grey = {"type": "array", "items": {"type": "array", "items": pixel, **bounds}, **rows}
        coloured = {"type": "array", "items": {"type": "array", "items": channels, **bounds}, **rows}
        file = {
            "type": "object",
            "properties": {"b64": {"type": "string", "format": "byte", "description": "a PNG or JPEG file"}},
            "required": ["b64"],
            "additionalProperties": False,
        }
        return {"anyOf": [grey, coloured, file]}

    def tensors(self) -> Sequence[Tensor]:
        size = (-1, -1) if self._image.resize else (self._image.height, self._image.width)
        return [Tensor("image", "FP32", (-1, *size, self._image.channels))]

    def of_tensors(self, inputs: Mapping[str, Any]) -> Samples:
        array = inputs["image"]
        if array.ndim not in (3, 4):
            raise self._wrong_shape(array.shape[1:], "image")
        return self._of_array(array.astype(np.float32) if array.dtype == np.float64 else array, "image")


class SeriesIntake(Intake):
    """Series [t, c], or [t] of one channel; null is a gap."""

    def other_types(self) -> Mapping[str, Callable[[bytes], Samples]]:
        return {
            NPY: lambda body: self._of_array(read_npy(body), "body"),
            NPZ: lambda body: self._of_array(read_npz(body, "series"), "series"),
        }

    def of_json(self, instances: Sequence[Any]) -> Samples:
        parts = [
            self._one(nested(one, place, gaps=True), place)
            for number, one in enumerate(instances)
            for place in [f"{INSTANCES}[{number}]"]
        ]
        return Samples("series", np.stack(parts))

    def _of_array(self, array: NDArray[Any], place: str) -> Samples:
        if array.dtype.kind not in "biuf" or array.ndim not in (2, 3):
            shape = list(array.shape)
            raise Refused(422, f"got an array of {array.dtype} {shape}; allowed: numbers [n, t, c]", field=place)
        if not len(array):
            raise Refused(422, "got no series; allowed: 1 or more", field=place)
        return Samples("series", np.stack([self._one(one, f"{place}[{at}]") for at, one in enumerate(array)]))

    def _one(self, series: NDArray[Any], place: str) -> NDArray[np.float64]:
        """A series [window, c] as the model reads it: the end of a longer one, or filled up with gaps."""
        channels, window = len(self.preprocessing.channels), self.preprocessing.window
        if series.ndim == 1 and channels == 1:
            series = series[:, None]
        steps = len(series) if series.ndim else 0
        forecast = self.preprocessing.horizon is not None
        fits = steps >= window if forecast else steps == window or (self.preprocessing.varied and 0 < steps <= window)
        if series.ndim != 2 or series.shape[1] != channels or not fits:
            allowed = f"at least {window}" if forecast else f"{'1 to ' * self.preprocessing.varied}{window}"
            raise Refused(
                422,
                f"got the shape {list(series.shape)}; allowed: [t, {channels}] with {allowed} steps",
                field=place,
            )
        finite(series, place, gaps=True)
        series = series[-window:].astype(np.float64)
        return np.concatenate([series, np.full((window - len(series), channels), np.nan)])

    def instance_schema(self) -> dict[str, Any]:
        channels, window = len(self.preprocessing.channels), self.preprocessing.window
        number = {"type": ["number", "null"]}
        step = {"type": "array", "items": number, "minItems": channels, "maxItems": channels}
        steps: dict[str, Any] = {"minItems": 1 if self.preprocessing.varied else window}
        if self.preprocessing.horizon is None:
            steps["maxItems"] = window
        several = {"type": "array", "items": step, **steps}
        return several if channels > 1 else {"anyOf": [several, {"type": "array", "items": number, **steps}]}

    def tensors(self) -> Sequence[Tensor]:
        return [Tensor("series", "FP64", (-1, -1, len(self.preprocessing.channels)))]

    def of_tensors(self, inputs: Mapping[str, Any]) -> Samples:
        return self._of_array(inputs["series"], "series")


def nested(values: Any, place: str, *, gaps: bool = False) -> NDArray[Any]:
    """Nested lists of JSON numbers as an array; with `gaps`, null is NaN.

    Raises:
        Refused: 422, they are ragged, or hold something else.
    """
    if not isinstance(values, list):
        raise Refused(422, f"got {kind_of(values)}; allowed: nested lists of numbers", field=place)
    found = _leaves(values, place)
    allowed = {bool, int, float} | ({type(None)} if gaps else set())
    if not found <= allowed:
        wanted = "numbers, and null for a gap" if gaps else "nested lists of numbers"
        raise Refused(422, f"got something that is no number; allowed: {wanted}", field=place)
    try:
        array = np.asarray(values, dtype=np.float64 if found & {float, type(None)} else None)
    except (ValueError, TypeError, OverflowError) as error:
        message = "got lists of different lengths, or a huge number; allowed: numbers"
        raise Refused(422, message, field=place) from error
    if array.dtype.kind not in "biuf":
        raise Refused(422, "got a huge number; allowed: numbers of 64 bits", field=place)
    return array


def _leaves(values: list[Any], place: str) -> set[type]:
    """Types of what is in nested lists.

    Looked at before numpy sees them: of many short texts and a long one it would make an array as wide as the longest.
    """
    level = values
    for _ in range(_DEEPEST):
        found = set(map(type, level))
        if list not in found:
            return found
        if len(found) > 1:
            raise Refused(422, "got lists beside what is no list; allowed: nested lists of numbers", field=place)
        level = list(chain.from_iterable(level))
    raise Refused(422, f"is nested too deeply; allowed: {_DEEPEST} lists in each other", field=place)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """The same pixels in fewer bytes, which are sent to another process; whole numbers stay whole."""
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    # Pixels become float32 before the model sees them in any case.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _decoded(value: Any, place: str) -> bytes:
    if not isinstance(value, dict) or set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise Refused(422, 'allowed: {"b64": "…"} with a PNG or JPEG file for each sample', field=place)
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"is no base64: {error}", field=f"{place}.b64") from error


def read_npy(content: bytes, place: str = "body") -> NDArray[Any]:
    """A `.npy` file; nothing in it is ever executed.

    Raises:
        Refused: 422, it is none, holds objects, or has another length than it says.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if reader is None:
            raise ValueError(f"version {version}")
        shape, fortran, dtype = reader(stream, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # whatever a header's text makes Python's reader of literals raise
        raise Refused(422, "is no .npy file of version 1 or 2 that can be read", field=place) from error
    data = content[stream.tell() :]
    if dtype.hasobject or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise Refused(422, f"got an array of {dtype}; allowed: whole numbers, floats and booleans", field=place)
    wanted = prod(shape) * dtype.itemsize
    if len(shape) > _DEEPEST or any(not 0 <= size < 2**31 for size in shape):
        raise Refused(422, f"allowed: a shape of at most {_DEEPEST} sizes below 2^31", field=place)
    if wanted != len(data):
        raise Refused(422, f"got {len(data)} bytes for an array of {wanted}", field=place)
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def read_npz(content: bytes, name: str) -> NDArray[Any]:
    """One array of a `.npz` file.

    Raises:
        Refused: 422, it is none, lacks the array, or would grow too large when it is unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(members) > _MOST_MEMBERS:
                raise Refused(422, f"holds {len(members)} arrays; allowed: at most {_MOST_MEMBERS}", field="body")
            info = members.get(f"{name}.npy")
            if info is None:
                raise Refused(422, f"is missing; the file has {', '.join(sorted(members))[:200]}", field=name)
            most = min(max(_UNPACKED_PER_BYTE * len(content), _UNPACKED[0]), _UNPACKED[1])
            if info.file_size > most:
                raise Refused(422, f"unpacks to {info.file_size:,} bytes; allowed: {most:,}", field=name)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Refused(422, "is packed in another way than numpy does; allowed: stored, deflated", field=name)
            # What a member says of its size may be a lie: no more is unpacked than is allowed.
            with archive.open(info) as member:
                return read_npy(member.read(most + 1), name)
    except Refused:
        raise
    except Exception as error:  # a broken archive makes zipfile raise of many kinds
        raise Refused(422, "is no .npz file that can be read", field="body") from error
