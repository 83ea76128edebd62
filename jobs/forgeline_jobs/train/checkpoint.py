"""Checkpoints on disk: a folder each, written under a temporary name, synced, renamed, and sealed by a manifest.

A folder without a manifest, or whose bytes differ from the manifest's digest, is not a checkpoint: `newest` sets it
aside, says so, and takes the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from forgeline.errors import SpecError

FORMAT = 2  # 1 had no strategy
STATE = "state.pt"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint holds.

    Attributes:
        step: optimizer steps taken.
        epoch: epoch that training goes on in.
        batch: batches of that epoch already trained on.
        metrics: newest validation metrics.
        digests: file name -> sha256.
        architecture: name and settings of the model.
        fingerprint: of the data.
        strategy: that the workers had.
        workers: how many wrote it; 0 where it is not known.
    """

    format: int = FORMAT
    run_id: str
    step: int
    epoch: int
    batch: int
    metrics: Mapping[str, float]
    digests: Mapping[str, str] = field(default_factory=dict)
    architecture: Mapping[str, Any]
    fingerprint: str
    strategy: str = "ddp"
    workers: int = 0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check the manifest's form (not the digests).

        Raises:
            SpecError: the checkpoint was written by a newer Forgeline.
            OSError, ValueError, TypeError: it is not a manifest.
        """
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] > FORMAT:
            raise SpecError(
                f"checkpoint {folder.name} has format {content['format']}, this Forgeline reads up to {FORMAT}; "
                "upgrade it"
            )
        return cls(**content)


def sha256(file: Path) -> str:
    """Hex digest of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def synced(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The digest of each file, by its name, once its bytes are on the disk."""
    digests = {}
    for name in names:
        digests[name] = sha256(folder / name)
        _sync(folder / name)
    return digests


def seal(temporary: Path, final: Path, manifest: Manifest) -> None:
    """Turn a folder of `state.pt` and what lies beside it into a checkpoint: manifest, sync, rename.

    An intact one of the same step stays: it holds the same, and between its removal and the rename there would be none.

    Args:
        temporary: its files are synced.
        manifest: with their digests.
    """
    if verified(final) is not None:
        shutil.rmtree(temporary)
        return
    (temporary / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    _sync(temporary / MANIFEST)
    _sync(temporary)
    if final.exists():
        shutil.rmtree(final)
    os.replace(temporary, final)
    _sync(final.parent)


def verified(folder: Path) -> Manifest | None:
    """The manifest when every byte is as it was written, else None."""
    try:
        manifest = Manifest.read(folder)
        intact = all(sha256(folder / name) == digest for name, digest in manifest.digests.items())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return manifest if intact else None


def folders(root: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first."""
    return sorted(root.glob("step-*")) if root.is_dir() else []


def folder_name(step: int) -> str:
    """Name of the checkpoint at a step; names sort by step."""
    return f"step-{step:010d}"


def step_of(name: str) -> int | None:
    """The step of a checkpoint's folder; None of other names.

    >>> step_of(folder_name(145)), step_of("damaged-step-0000000145")
    (145, None)
    """
    found = re.fullmatch(r"step-(\d+)", name)
    return None if found is None else int(found[1])


def by_step(root: Path) -> dict[int, Path]:
    """Checkpoint folders of a run by their steps, oldest first."""
    return {step: folder for folder in folders(root) if (step := step_of(folder.name)) is not None}


def newest(root: Path, *, warn: Callable[[str], None]) -> Path | None:
    """The newest intact checkpoint; each damaged one on the way is reported through `warn` and set aside.

    Left in its place, it would count as newer than what is written next, which `keep_last` would then delete.
    """
    for folder in reversed(folders(root)):
        if verified(folder) is not None:
            return folder
        aside = root / f"damaged-{folder.name}"
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        warn(
            f"checkpoint {folder.name} is damaged (its bytes differ from its manifest) and is now {aside.name}; "
            "trying the one before it"
        )
    return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
