"""Paths of files with trained weights, as a config names them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationInfo

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Validation context of a config whose weights are already in a bundle: the file that they began from may be gone.
STORED = {"stored": True}

Value = TypeVar("Value")


def weight_file(value: Value, info: ValidationInfo, *, folders: bool = False) -> Value | str:
    """An existing file's absolute path, or a folder's where these are allowed; anything else comes back as it is.

    Raises:
        ValueError: it looks like a path and there is no such file.
    """
    if not isinstance(value, str) or "://" in value or (info.context or {}).get("stored"):
        return value
    if value.startswith(("models:", "runs:")):
        raise ValueError(
            f"got {value!r}; weights in their library's own naming stand here: name a trained model of yours in "
            "fine_tune.pretrained"
        )
    # Unlike Path.expanduser, this leaves the name of an unknown user alone.
    path = Path(os.path.expanduser(value)).absolute()  # noqa: PTH111
    if path.is_file() or (folders and path.is_dir()):
        return str(path)
    if os.sep in value or value.lower().endswith(SUFFIXES):
        kind = "file or folder" if folders else "file"
        raise ValueError(f"there is no {kind} {value!r} (looked for {path}); change architecture.pretrained")
    return value
