"""`export.json`: what an exported model takes and gives, which bundle it came from, and the sha256 of every file.

An export may come from anywhere, so this is read with the suspicion that `bundle.json` is: bounded in size, its file
names held inside the folder, nothing in it imported or executed. A sealed file is read once, and what was hashed is
what is used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from forgeline.bundle.manifest import confined
from forgeline.errors import BundleError, BundleTampered
from forgeline.export.formats import ExportFormat

MANIFEST = "export.json"
PREPROCESSING = "preprocessing.json"
LARGEST_MANIFEST_BYTES = 2**20
LARGEST_PREPROCESSING_BYTES = 64 * 2**20
# Past this, protobuf cannot hold an ONNX model in one file, and a model is no longer one for the edge.
LARGEST_MODEL_BYTES = 2 * 2**30 - 1

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputRecord(BaseModel):
    """One input of an exported model."""

    model_config = _STRICT

    name: str = Field(description="Name in the graph, and of the array that the preprocessing gives.")
    shape: tuple[NonNegativeInt | None, ...] = Field(description="Shape with the first axis; null where it may vary.")
    dtype: Literal["float32", "int64"] = Field(description="Type of the numbers.")


class OutputRecord(BaseModel):
    """The output of an exported model."""

    model_config = _STRICT

    name: str = Field(description="Name in the graph, which says what the numbers are.")
    meaning: str = Field(description="The same in words, with its axes.")


class PruningRecord(BaseModel):
    """What was taken out of the model."""

    model_config = _STRICT

    share: float = Field(gt=0, lt=1, description="Share of the weights of each layer, or of its channels.")
    channels: bool = Field(description="Whether whole channels were taken out.")


class ExportManifest(BaseModel):
    """All about an export but its numbers."""

    model_config = _STRICT

    format: Literal[1] = 1
    forgeline: str
    created: str
    bundle: str = Field(pattern="^[0-9a-f]{64}$", description="Digest of the bundle that was exported.")
    run_id: str | None = None
    architecture: str
    task: str
    classes: tuple[str, ...] | None = None
    inputs: tuple[InputRecord, ...] = Field(default=(), description="In the order of the pt2 program's arguments.")
    output: OutputRecord | None = None
    pruned: PruningRecord | None = None
    files: dict[ExportFormat, str] = Field(min_length=1, description="Form -> its file, or the bundle's manifest.")
    digests: dict[str, str]

    def text(self) -> str:
        """As it is written."""
        return json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


def read_export_manifest(folder: Path) -> tuple[ExportManifest, str]:
    """The manifest of an export, and the sha256 of its bytes.

    Raises:
        BundleError: it is not there, too large, or no manifest of an export.
        SpecError: it names a file outside the folder.
    """
    path = folder / MANIFEST
    content = _bounded(path, LARGEST_MANIFEST_BYTES)
    try:
        manifest = ExportManifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path} is not the manifest of an export: {where}: {first['msg']}") from error
    for name in manifest.digests:
        confined(folder, name)
    unsealed = sorted(set(manifest.files.values()) - set(manifest.digests))
    if unsealed:
        raise BundleError(f"{path} seals no {unsealed[0]}; it lists {', '.join(sorted(manifest.digests))}")
    return manifest, hashlib.sha256(content).hexdigest()


def read_sealed(folder: Path, manifest: ExportManifest, name: str, *, largest: int = LARGEST_MODEL_BYTES) -> bytes:
    """The bytes of a sealed file, read once and then held against their digest.

    Raises:
        BundleTampered: they are not those that were sealed.
        BundleError: the file is missing, too large, or not sealed.
    """
    if name not in manifest.digests:
        raise BundleError(f"{folder / MANIFEST} seals no {name}")
    content = _bounded(confined(folder, name), largest)
    found, sealed = hashlib.sha256(content).hexdigest(), manifest.digests[name]
    if found != sealed:
        raise BundleTampered(
            f"{folder / name} is not the file that was sealed: sha256 {found[:12]}…, {MANIFEST} says {sealed[:12]}…; "
            "export the model again"
        )
    return content


def _bounded(path: Path, largest: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(largest + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > largest:
        raise BundleError(f"{path} has more than {largest:,} bytes, the most that is read of such a file")
    return content


def shape_of(shape: tuple[Any, ...]) -> tuple[int | None, ...]:
    """A shape whose first axis may vary."""
    return (None, *(int(size) for size in shape[1:]))
