"""A closed window as a Parquet file: integers a row, one row for each column of the input, output or other count.

A file appears whole or not at all, is named by its content, and is read only when it has the digest that the journal
has of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forgeline.bundle.observation import Counts, Observation
from forgeline.distributions import CategoricalCounts, NumericCounts
from forgeline.errors import ForgelineError
from forgeline_deploy.monitor.latency import LatencyCounts
from forgeline_deploy.monitor.pane import Answer, PaneKey, Payload, Stream, Tally
from forgeline_deploy.monitor.window import Part, Window

_SCHEMA = pa.schema(
    [
        ("role", pa.string()),
        ("version", pa.string()),
        ("section", pa.string()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("integers", pa.list_(pa.int64())),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("text", pa.string()),
    ]
)
_ANSWERS = pa.schema(
    [
        ("role", pa.string()),
        ("version", pa.string()),
        ("request", pa.string()),
        ("prediction", pa.string()),
        ("confidence", pa.float64()),
    ]
)
_HEADER = b"forgeline.window"


class WindowCorrupted(ForgelineError):
    """The file of a stored window is gone, or is not the one that was stored."""


@dataclass(frozen=True, kw_only=True)
class SealedFile:
    """A file as the journal has it.

    Attributes:
        name: inside the folder of windows.
        sha256: of its bytes, in hexadecimal.
    """

    name: str
    sha256: str


def seal(folder: Path, stem: str, content: bytes, *, suffix: str = ".parquet") -> SealedFile:
    """Write a file so that it is whole, and on the disk, when this returns.

    Raises:
        OSError: it could not be written; nothing of it is left.
    """
    digest = hashlib.sha256(content).hexdigest()
    name = f"{stem}-{digest[:12]}{suffix}"
    temporary = folder / f".{name}.{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return SealedFile(name=name, sha256=digest)


def sealed_bytes(folder: Path, file: SealedFile) -> bytes:
    """What a file holds.

    Raises:
        WindowCorrupted: it is gone, cannot be read, or holds something else than when it was stored.
    """
    path = folder / Path(file.name).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WindowCorrupted(
            f"{path} cannot be read: {error.strerror}; its window cannot be shown or replayed"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise WindowCorrupted(
            f"{path} has the sha256 {found[:12]}…, the journal has {file.sha256[:12]}…: it was altered after it was "
            "stored; its window cannot be shown or replayed"
        )
    return content


def window_bytes(window: Window, state: Mapping[str, Any]) -> bytes:
    """A window and the state of judging after it, without the answers."""
    header = {
        "format": 1,
        "start": window.key.start,
        "generation": window.key.generation,
        "end": window.end,
        "closed": window.closed,
        "included": [[replica, *_names(stream), number] for (replica, stream), number in window.included.items()],
        "remarks": list(window.remarks),
        "state": state,
    }
    return written(_rows_of(window), _SCHEMA, {_HEADER: json.dumps(header, sort_keys=True).encode()})


def check_storable(window: Window) -> None:
    """Whether a file can hold what was counted; no later try would change that.

    Raises:
        ValueError: it cannot, such as text that is no valid Unicode.
    """
    pa.Table.from_pylist(_rows_of(window), schema=_SCHEMA)
    pa.Table.from_pylist(_answer_rows(window), schema=_ANSWERS)


def window_of(content: bytes) -> tuple[Window, dict[str, Any]]:
    """The window of a file, without answers, and the state of judging after it.

    Raises:
        WindowCorrupted: the bytes are of no window.
    """
    try:
        table = pq.read_table(io.BytesIO(content))
        header = json.loads(table.schema.metadata[_HEADER])
        rows = table.to_pylist()
        parts: dict[Stream, list[dict[str, Any]]] = {}
        for row in rows:
            parts.setdefault(Stream(row["role"], row["version"]), []).append(row)
        window = Window(
            key=PaneKey(header["start"], header["generation"]),
            end=header["end"],
            closed=header["closed"],
            parts={stream: _part(mine) for stream, mine in parts.items()},
            included={(replica, Stream(role, version)): n for replica, role, version, n in header["included"]},
            remarks=tuple(header["remarks"]),
        )
        return window, header["state"]
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise WindowCorrupted(f"the file of a window cannot be read: {type(error).__name__}: {error}") from error


def answers_bytes(window: Window) -> bytes | None:
    """The answers of a window, or None where none are kept."""
    rows = _answer_rows(window)
    return written(rows, _ANSWERS, {}) if rows else None


def answers_of(content: bytes) -> Iterator[tuple[Stream, Answer]]:
    """The answers of a file, in order."""
    columns = pq.read_table(io.BytesIO(content)).to_pydict()
    for values in zip(*(columns[field.name] for field in _ANSWERS), strict=True):
        role, version, request, prediction, confidence = values
        yield Stream(role, version), Answer(request, prediction, confidence)


def written(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, metadata: Mapping[bytes, bytes]) -> bytes:
    """Rows as the bytes of a Parquet file."""
    out = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=schema).replace_schema_metadata(dict(metadata))
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _rows_of(window: Window) -> list[dict[str, Any]]:
    return [row for stream, part in window.parts.items() for row in _rows(stream, part)]


def _answer_rows(window: Window) -> list[dict[str, Any]]:
    return [
        {**_named(stream), "request": answer.request, "prediction": answer.prediction, "confidence": answer.confidence}
        for stream, part in window.parts.items()
        for answer in part.answers
    ]


def _rows(stream: Stream, part: Part) -> Iterator[dict[str, Any]]:
    tally, of = part.tally, _named(stream)
    rows = tally.observation.rows if tally.observation is not None else -1
    yield of | {"section": "totals", "integers": [tally.requests, tally.errors, rows]}
    yield of | {"section": "latency", "integers": tally.latency.buckets.tolist()}
    for reason, count in tally.refused.items():
        yield of | {"section": "refused", "name": reason, "integers": [count]}
    if tally.observation is not None:
        sides = (("input", tally.observation.inputs), ("output", tally.observation.outputs))
        for section, counted in sides:
            for name, counts in counted.items():
                yield of | {"section": section, "name": name} | _counts_row(counts)
    for payload in part.payloads:
        yield of | {"section": "payload", "name": payload.request, "kind": payload.rank, "text": payload.content}


def _counts_row(counts: Counts) -> dict[str, Any]:
    if isinstance(counts, NumericCounts):
        integers = [counts.below, counts.above, counts.missing, counts.steps, *counts.bins.tolist()]
        return {"kind": "numeric", "integers": integers, "low": counts.minimum, "high": counts.maximum}
    return {"kind": "categorical", "integers": [counts.other, counts.missing, *counts.known.tolist()]}


def _counts(row: Mapping[str, Any]) -> Counts:
    integers = row["integers"]
    if row["kind"] == "numeric":
        below, above, missing, steps, *bins = integers
        return NumericCounts(
            bins=np.asarray(bins, dtype=np.int64),
            below=below,
            above=above,
            missing=missing,
            steps=steps,
            minimum=row["low"],
            maximum=row["high"],
        )
    other, missing, *known = integers
    return CategoricalCounts(known=np.asarray(known, dtype=np.int64), other=other, missing=missing)


def _part(rows: Sequence[Mapping[str, Any]]) -> Part:
    sections: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        sections.setdefault(row["section"], []).append(row)
    requests, errors, counted = sections["totals"][0]["integers"]
    sides = {side: {row["name"]: _counts(row) for row in sections.get(side, [])} for side in ("input", "output")}
    seen = None if counted < 0 else Observation(rows=counted, inputs=sides["input"], outputs=sides["output"])
    return Part(
        tally=Tally(
            observation=seen,
            latency=LatencyCounts(np.asarray(sections["latency"][0]["integers"], dtype=np.int64)),
            requests=requests,
            errors=errors,
            refused={row["name"]: row["integers"][0] for row in sections.get("refused", [])},
        ),
        payloads=tuple(Payload(row["kind"], row["name"], row["text"]) for row in sections.get("payload", [])),
    )


def _names(stream: Stream) -> tuple[str, str]:
    return stream.role, stream.version


def _named(stream: Stream) -> dict[str, Any]:
    return {"role": stream.role, "version": stream.version}
