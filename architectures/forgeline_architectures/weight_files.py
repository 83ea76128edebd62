"""Paths of files with trained weights, as a config names them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationInfo

from forgeline_architectures import hub

KEY = "architecture.pretrained"
# Validation context of a config whose weights are in a bundle or a checkpoint: the file they began from may be gone.
STORED = {"stored": True}

Value = TypeVar("Value")


def weight_file(value: Value, info: ValidationInfo, *, folders: bool = False) -> Value | str:
    """An existing file's absolute path, and `hub:ORG/MODEL` as it is; what is not a text comes back as it is.

    Args:
        value: as the config has it.
        info: pydantic's, which knows whether the model has weights of its own already.
        folders: whether checkpoints as transformers writes them are read: folders, and models of the hub.

    Raises:
        ValueError: there is no such file, or the name means something else.
    """
    if not isinstance(value, str):
        return value
    if value.startswith(("models:", "runs:")):
        raise ValueError(
            f"got {value!r}; weights in their library's own naming stand here: name a trained model of yours in "
            "fine_tune.pretrained"
        )
    if value.startswith(hub.PREFIX) and folders:
        hub.check_name(value, key=KEY)
        return value
    # Unlike Path.expanduser, this leaves the name of an unknown user alone.
    path = Path(os.path.expanduser(value)).absolute()  # noqa: PTH111
    if (info.context or {}).get("stored") or path.is_file() or (folders and path.is_dir()):
        return str(path)
    kind = "file or folder" if folders else "file"
    raise ValueError(f"there is no {kind} {value!r} (looked for {path}){_meant(value, folders)}; change {KEY}")


def _meant(value: str, folders: bool) -> str:
    """What else a name that is no file may have been meant to be."""
    if not folders:
        return ""
    example = value if hub.looks_like_a_model(value) else "openai-community/gpt2"
    return f"; a model of the hub is written {hub.PREFIX}ORG/MODEL, such as {hub.PREFIX}{example}"
