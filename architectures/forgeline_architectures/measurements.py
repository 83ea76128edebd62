"""What models cost, as measured: read from `measurements.json`, which `python -m benchmarks.measurements` writes.

Kept as a file of the package so that a listing shows figures without importing torch or building anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "measurements.json"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model in one configuration.

    Attributes:
        model: `architecture.name`.
        family: entry point of its family.
        spec: file under jobs/specs/zoo that it is configured by; None for a published configuration.
        task: what it learns there.
        inputs: shapes of one sample, in words.
        parameters: all of them, buffers not counted.
        multiply_adds: of one prediction; of a generator, of one sample with its default options; of a network over a
            graph, of one pass over the whole graph. None where an operation is not counted.
        memory_bytes: weights, gradients, optimiser state and what the forward pass of a training step keeps for the
            backward pass, at the spec's batch size in float32; None for a published configuration.
        samples_per_s: training, per second of one core of the machine named in the file, at the spec's batch size; None
            likewise.
    """

    model: str
    family: str
    spec: str | None
    task: str
    inputs: str
    parameters: int
    multiply_adds: int | None
    memory_bytes: int | None
    samples_per_s: float | None


@cache
def measurements() -> Sequence[Measurement]:
    """All rows, in the order of the file."""
    text = (files(__package__) / FILE).read_text(encoding="utf-8")
    return tuple(Measurement(**row) for row in json.loads(text)["rows"])


def of_family(family: str) -> Sequence[Measurement]:
    """The rows of one family."""
    return tuple(row for row in measurements() if row.family == family)
