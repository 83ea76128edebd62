"""Tensors of the Open Inference Protocol, from a body and into one: as JSON lists or as bytes behind the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline_deploy.serving.arrays import nested
from forgeline_deploy.serving.intake import Tensor, finite, kind_of, parse_json
from forgeline_deploy.serving.refusal import Refused

HEADER_LENGTH = "Inference-Header-Content-Length"
TYPES: Mapping[str, str] = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Datatype of the protocol -> that of numpy; `BYTES` is the only other one."""

_MOST_DIMENSIONS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceOrder:
    """A request for inference.

    Attributes:
        inputs: by name: arrays, of `BYTES` flat lists of bytes.
        request_id: that the client gave in the body.
        outputs: names that are wanted; None for all.
        binary: names of outputs that are wanted as bytes; None where all are.
    """

    inputs: Mapping[str, Any]
    request_id: str | None
    outputs: Sequence[str] | None
    binary: frozenset[str] | None


def read_request(body: bytes, header_length: str | None, tensors: Sequence[Tensor]) -> InferenceOrder:
    """The request in a body.

    Args:
        body: JSON, with the bytes of tensors behind it where `header_length` says how long the JSON is.
        header_length: the header of the binary extension.
        tensors: that the model takes.

    Raises:
        Refused: 400, it is not of the protocol's form; 422, it is not what the model takes.
    """
    text, binary = body, b""
    if header_length is not None:
        if not header_length.isdecimal() or len(header_length) > 12 or int(header_length) > len(body):
            raise Refused(400, f"got {header_length[:40]!r}; allowed: 0 to {len(body)}", field=HEADER_LENGTH)
        text, binary = body[: int(header_length)], body[int(header_length) :]
    data = parse_json(text)
    if not isinstance(data, dict):
        raise Refused(422, f"got {kind_of(data)}; allowed: an object with `inputs`", field="body")
    given = data.get("inputs")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Refused(422, "allowed: a list of tensors", field="inputs")
    request_id = data.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise Refused(422, f"got {kind_of(request_id)}; allowed: a text", field="id")
    read, rest = _inputs(given, {tensor.name: tensor for tensor in tensors}, binary)
    if rest:
        raise Refused(400, f"{rest} bytes are left behind the last tensor", field="inputs")
    counts = {len(value) for value in read.values()}
    if len(counts) > 1:
        raise Refused(422, f"got {sorted(counts)} samples in the tensors; allowed: the same in all", field="inputs")
    outputs, wanted = _outputs(data)
    return InferenceOrder(inputs=read, request_id=request_id, outputs=outputs, binary=wanted)


def _inputs(given: Sequence[Any], known: Mapping[str, Tensor], binary: bytes) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    start = 0
    for number, one in enumerate(given):
        name = one.get("name")
        if not isinstance(name, str) or name not in known or name in found:
            allowed = ", ".join(list(known)[:20])
            raise Refused(422, f"got {kind_of(name)}; allowed, each once: {allowed}", field=f"inputs[{number}].name")
        size = _parameters(one, f"inputs[{number}]").get("binary_data_size")
        raw = None
        if size is not None:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - start:
                left = len(binary) - start
                raise Refused(422, f"got {kind_of(size)}; allowed: 0 to {left}", field=f"{name}.binary_data_size")
            raw = binary[start : start + size]
            start += size
        found[name] = _tensor(one, known[name], raw)
    missing = [name for name in known if name not in found]
    if missing:
        raise Refused(422, "is missing; allowed: a tensor for each input of the model", field=missing[0])
    return found, len(binary) - start


def _tensor(one: Mapping[str, Any], wanted: Tensor, raw: bytes | None) -> Any:
    name, datatype = wanted.name, one.get("datatype")
    allowed = ["BYTES"] if wanted.datatype == "BYTES" else list(TYPES)
    if datatype not in allowed:
        raise Refused(422, f"got {kind_of(datatype)}; allowed: {', '.join(allowed)}", field=f"{name}.datatype")
    shape = one.get("shape")
    sound = isinstance(shape, list) and 1 <= len(shape) <= _MOST_DIMENSIONS
    if not sound or not all(type(size) is int and 0 <= size < 2**31 for size in shape or []):
        raise Refused(422, f"allowed: a list of 1 to {_MOST_DIMENSIONS} sizes", field=f"{name}.shape")
    assert isinstance(shape, list)
    if len(wanted.shape) == 1 and not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise Refused(422, f"got the shape {shape}; allowed: [n] or [n, 1]", field=f"{name}.shape")
    if wanted.datatype == "BYTES":
        values = _raw_bytes(raw, name) if raw is not None else _json_bytes(one.get("data"), name)
        if len(values) != prod(shape):
            raise Refused(422, f"got {len(values)} values for the shape {shape}", field=name)
        return values
    return _numbers(one, raw, str(datatype), shape, name)


def _numbers(one: Mapping[str, Any], raw: bytes | None, datatype: str, shape: list[int], name: str) -> NDArray[Any]:
    dtype = np.dtype(TYPES[datatype])
    if raw is not None:
        if prod(shape) * dtype.itemsize != len(raw):
            wanted = prod(shape) * dtype.itemsize
            raise Refused(422, f"got {len(raw)} bytes for {wanted} of {datatype} {shape}", field=name)
        return np.frombuffer(raw, dtype=dtype).reshape(shape)
    data = one.get("data")
    if not isinstance(data, list):
        raise Refused(422, f"got {kind_of(data)}; allowed: a list of numbers", field=f"{name}.data")
    # A float that is missing is null, since JSON has no NaN; whether the model takes one is known by the intake.
    array = nested(data, f"{name}.data", gaps=dtype.kind == "f")
    try:
        if dtype.kind in "iu" and array.size:
            bounds = np.iinfo(dtype)
            if array.min() < bounds.min or array.max() > bounds.max:
                raise ValueError("out of range")
        # Numbers that a smaller float cannot hold become infinite, and are refused as such.
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        if dtype.kind in "iu" and array.dtype.kind == "f" and (converted != array).any():
            raise ValueError("fractions")
        return finite(converted.reshape(shape), name, gaps=True)
    except (ValueError, TypeError, OverflowError) as error:
        message = f"is no {datatype} data of the shape {shape}; allowed: {prod(shape)} numbers"
        raise Refused(422, message, field=f"{name}.data") from error


def _json_bytes(data: Any, name: str) -> list[bytes]:
    rows = data if isinstance(data, list) else [data]
    flat = [item for row in rows for item in (row if isinstance(row, list) else [row])]
    if not isinstance(data, list) or not all(isinstance(item, str) for item in flat):
        raise Refused(422, "allowed: a list of texts", field=f"{name}.data")
    return [item.encode("utf-8", "surrogatepass") for item in flat]


def _raw_bytes(raw: bytes, name: str) -> list[bytes]:
    """Each element behind its length, 4 bytes little-endian."""
    values, start = [], 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        if start + 4 > len(raw) or end > len(raw):
            raise Refused(422, "got an element that is longer than its tensor", field=name)
        values.append(raw[start + 4 : end])
        start = end
    return values


def _parameters(one: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    found = one.get("parameters", {})
    if not isinstance(found, dict):
        raise Refused(422, f"got {kind_of(found)}; allowed: an object", field=f"{place}.parameters")
    return found


def _outputs(data: Mapping[str, Any]) -> tuple[list[str] | None, frozenset[str] | None]:
    """Names of the wanted outputs, and which of them as bytes; None for all."""
    everything = _parameters(data, "request").get("binary_data_output") is True
    given = data.get("outputs")
    if given is None:
        return None, None if everything else frozenset()
    if not isinstance(given, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in given):
        raise Refused(422, "allowed: a list of objects with `name`", field="outputs")
    binary = {o["name"] for o in given if _parameters(o, "outputs").get("binary_data", everything) is True}
    return list(dict.fromkeys(o["name"] for o in given)), frozenset(binary)


def written(
    columns: Mapping[str, Sequence[Any]], datatypes: Mapping[str, str], order: InferenceOrder
) -> tuple[list[dict[str, Any]], bytes]:
    """Outputs as JSON, and the bytes behind it.

    Args:
        columns: the predictions that are wanted.
        datatypes: of the columns.
        order: says which are wanted as bytes.
    """
    outputs, blobs = [], []
    for name, values in columns.items():
        datatype = datatypes.get(name, "BYTES")
        told: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(values)]}
        if order.binary is None or name in order.binary:
            blob = _blob(values, datatype)
            told["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            told["data"] = [str(value) for value in values] if datatype == "BYTES" else list(values)
        outputs.append(told)
    return outputs, b"".join(blobs)


def _blob(values: Sequence[Any], datatype: str) -> bytes:
    if datatype != "BYTES":
        return np.asarray([np.nan if v is None else v for v in values], dtype=TYPES[datatype]).tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
