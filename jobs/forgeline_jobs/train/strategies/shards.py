"""Weights and optimizer state in pieces: each worker writes what it holds, and reads what it is to hold.

A piece is a run of consecutive numbers of one flattened tensor. Whatever way a strategy shares tensors out, each
worker's share of a tensor is such a run, so what some workers wrote can be read by any other number of them. Files are
safetensors, one of each worker, which hold numbers alone; the place of each piece is in the file's own header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

WEIGHT = "weight"  # kind of the model's own tensors; the other kinds are names of the optimizer's state
_FILES = "shard-*.safetensors"
_HEADER = "pieces"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of one tensor, in this worker's memory.

    Attributes:
        kind: `weight`, or the name of a state of the optimizer, such as `exp_avg`.
        name: of the tensor in the module's state dict.
        shape: of the whole tensor.
        start: place of the first number in the whole tensor, flattened.
        values: [length], a view where it is to be read into.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    start: int
    values: Tensor

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}"


def whole_piece(kind: str, name: str, tensor: Tensor) -> Piece:
    """A tensor that one worker writes for all."""
    return Piece(kind=kind, name=name, shape=tuple(tensor.shape), start=0, values=tensor.detach().view(-1))


def file_name(rank: int, world: int) -> str:
    """Name of the file of one worker."""
    return f"shard-{rank:05d}-of-{world:05d}.safetensors"


def content(pieces: Iterable[Piece]) -> dict[str, Any]:
    """What the file of one worker is to hold, on the workers' devices; pieces without numbers are left out."""
    held = [piece for piece in pieces if piece.values.numel()]
    return {
        "places": {piece.key: [piece.start, list(piece.shape)] for piece in held},
        "tensors": {piece.key: piece.values.detach() for piece in held},
    }


def write(content: Mapping[str, Any], file: Path) -> None:
    """Write the file of one worker.

    Args:
        content: as of `content`, with copies of the tensors: safetensors takes no two of one memory.
    """
    save_file(content["tensors"], file, {_HEADER: json.dumps(content["places"])})


def are_in(folder: Path) -> bool:
    """Whether a checkpoint's tensors lie beside it in pieces."""
    return any(folder.glob(_FILES))


@dataclass(frozen=True)
class _Place:
    file: Any
    start: int
    length: int


class Shards:
    """What the workers of a checkpoint wrote, whole tensor by whole tensor or part by part.

    Args:
        folder: the checkpoint; the bytes of its files have been held against the manifest.
    """

    def __init__(self, folder: Path) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, list[_Place]] = {}
        for file in sorted(folder.glob(_FILES)):
            stored: Any = safe_open(
                file, framework="pt"
            )  # mapped into memory: numbers are read when they are asked for
            for key, (start, shape) in json.loads(stored.metadata()[_HEADER]).items():
                length = stored.get_slice(key).get_shape()[0]
                self.shapes[key] = tuple(shape)
                self._places.setdefault(key, []).append(_Place(stored, start, length))

    def kinds(self, name: str) -> Iterator[str]:
        """Which states of the optimizer there are of a tensor."""
        for key in self.shapes:
            kind, _, of = key.partition("/")
            if of == name and kind != WEIGHT:
                yield kind

    def read(self, key: str, start: int, length: int) -> Tensor:
        """Numbers [length] of a tensor, flattened, from `start` on.

        Raises:
            ValueError: not all of them were written.
        """
        parts: list[tuple[int, Tensor]] = []
        for place in self._places.get(key, ()):
            first, last = max(start, place.start), min(start + length, place.start + place.length)
            if first < last:
                parts.append((first, place.file.get_slice(key)[first - place.start : last - place.start]))
        parts.sort(key=lambda part: part[0])
        found = torch.cat([values for _, values in parts]) if parts else torch.empty(0)
        if len(found) != length:
            raise ValueError(f"the checkpoint holds {len(found)} of the {length} numbers of {key} from {start} on")
        return found

    def whole(self, key: str) -> Tensor:
        """A tensor in its own shape."""
        shape = self.shapes[key]
        return self.read(key, 0, math.prod(shape)).view(shape)

    def fill(self, piece: Piece) -> None:
        """Read what a piece is to hold into its memory.

        Raises:
            ValueError: the tensor has another shape, or not all of it was written.
        """
        shape = self.shapes.get(piece.key)
        if shape != piece.shape:
            raise ValueError(f"{piece.key} of the checkpoint has the shape {shape}, the model's {piece.shape}")
        if piece.values.numel():
            piece.values.copy_(self.read(piece.key, piece.start, piece.values.numel()))

    def weights(self) -> dict[str, Tensor]:
        """The whole weights, under their names in the module's state dict."""
        prefix = f"{WEIGHT}/"
        return {key.removeprefix(prefix): self.whole(key) for key in self.shapes if key.startswith(prefix)}
