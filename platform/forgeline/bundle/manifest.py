"""`bundle.json`: what a model is, and the sha256 of every file beside it.

It comes from wherever a bundle came from, so it is read with suspicion: bounded in size, its format number looked at
before anything else, its file names held inside the folder. Nothing in it is ever imported or executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from forgeline.errors import BundleError, BundleTampered, SpecError
from forgeline.masking import masked
from forgeline.paths import confine

FORMAT = 1
MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
REFERENCE = "reference.json"
# A BPE vocabulary of 250k tokens takes about 10 MiB of JSON; anything past this is not a manifest.
LARGEST_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20


class DataRecord(BaseModel):
    """The data that the model was trained on.

    Attributes:
        name: of the data source.
        config: all its settings, enough to prepare the same data again, passwords and the like masked.
        fingerprint: sha256 over the content.
        summary: sizes and the like, for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    config: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str
    summary: dict[str, Any] = Field(default_factory=dict)

    @field_validator("config")
    @classmethod
    def _without_secrets(cls, config: dict[str, Any]) -> dict[str, Any]:
        return dict(masked(config))


class Manifest(BaseModel):
    """Everything about a model but its numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    forgeline: str
    created: str
    run_id: str | None = None
    task: Literal[
        "classification",
        "regression",
        "forecasting",
        "language_modelling",
        "masked_language_modelling",
        "token_classification",
        "translation",
        "retrieval",
        "reconstruction",
        "generation",
    ]
    architecture: dict[str, Any]
    signature: dict[str, Any]
    preprocessing: dict[str, Any]
    schema_: dict[str, Any] = Field(alias="schema")
    metrics: dict[str, float] = Field(default_factory=dict)
    data: DataRecord | None = None
    digests: dict[str, str]

    def text(self) -> str:
        """As it is written."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a bundle folder, and the sha256 of its bytes.

    Raises:
        BundleError: it is not there, too large, not JSON, of a newer format, or not a manifest.
        SpecError: it names a file outside the folder.
    """
    path = folder / MANIFEST
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise BundleError(f"{path} has {size:,} bytes; a manifest has at most {LARGEST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    try:
        parsed = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BundleError(f"{path} is not JSON: {reason}") from error
    if not isinstance(parsed, dict):
        raise BundleError(f"{path} holds a {type(parsed).__name__}, wanted an object")
    _check_format(parsed.get("format"), path)
    try:
        manifest = Manifest.model_validate(parsed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path} is not a bundle manifest: {where}: {first['msg']}") from error
    for name in manifest.digests:
        confined(folder, name)
    if WEIGHTS not in manifest.digests:
        raise BundleError(f"{path} seals no {WEIGHTS}; it lists {', '.join(sorted(manifest.digests)) or 'no file'}")
    return manifest, hashlib.sha256(content).hexdigest()


def confined(folder: Path, name: str) -> Path:
    """The file `name` of a bundle.

    Raises:
        SpecError: it would be outside the folder.
    """
    try:
        return confine(name, folder, error=SpecError)
    except (SpecError, ValueError) as error:
        reason = error.message if isinstance(error, SpecError) else str(error)
        raise SpecError(reason, key=f"digests[{name!r}]", source=str(folder / MANIFEST)) from error


def verify(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare every sealed file with its digest.

    Raises:
        BundleTampered: a file's bytes are not those that were sealed.
        BundleError: a file is missing or cannot be read.
    """
    for name, sealed in digests.items():
        found = sha256_of(confined(folder, name))
        if found != sealed:
            raise BundleTampered(
                f"{folder / name} is not the file that was sealed: sha256 {found[:12]}…, "
                f"{MANIFEST} says {sealed[:12]}…; fetch the bundle again from where it came from"
            )


def sha256_of(path: Path) -> str:
    """The digest of a file, read in blocks.

    Raises:
        BundleError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise BundleError(f"{path}, which {MANIFEST} lists, cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _check_format(number: Any, path: Path) -> None:
    if isinstance(number, int) and not isinstance(number, bool) and number > FORMAT:
        raise BundleError(f"{path} has format {number}; this Forgeline reads up to {FORMAT}: upgrade forgeline")
    if number != FORMAT or isinstance(number, bool):
        raise BundleError(f"{path} has format {number!r}; allowed: {FORMAT}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
