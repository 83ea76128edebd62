"""Checkpoints of the Hugging Face hub, by `hub:ORG/MODEL`, of a revision by `hub:ORG/MODEL@REVISION`.

The prefix keeps a model of the hub apart from a file that is missing. Only safetensors and JSON are fetched, into the
cache of huggingface_hub (HF_HOME); what lies there needs no network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PREFIX = "hub:"
CONFIG = ("config.json",)
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
TOKENIZER = ("tokenizer.json",)
_NAME = re.compile(r"(?!.*\.\.)(?P<model>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


class NotCached(Exception):  # noqa: N818  (nothing is wrong: it can be fetched)
    """A checkpoint is not, or not whole, in the cache."""


def looks_like_a_model(name: str) -> bool:
    """Whether this could be the name of a model of the hub, without the prefix."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str, *, key: str) -> None:
    """Check the form of `hub:ORG/MODEL`, without looking for the model.

    Raises:
        ValueError: it has another form.
    """
    if not looks_like_a_model(name.removeprefix(PREFIX)):
        raise ValueError(
            f"got {name!r}; a model of the hub is written {PREFIX}ORG/MODEL or {PREFIX}ORG/MODEL@REVISION, such as "
            f"{PREFIX}openai-community/gpt2; change {key}"
        )


def fetch(name: str, files: Sequence[str], *, key: str) -> Path:
    """The folder of a checkpoint, some of its files fetched unless the cache has them.

    Args:
        name: `hub:ORG/MODEL`, perhaps with `@REVISION`.
        files: patterns of the names of what is needed.
        key: of the spec, that a message names.

    Raises:
        ValueError: there is no such model, or it is neither in the cache nor to be had.
    """
    from huggingface_hub import constants, snapshot_download

    check_name(name, key=key)
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    assert found is not None
    try:
        return Path(snapshot_download(found["model"], revision=found["revision"], allow_patterns=list(files)))
    except Exception as error:
        # Whatever its HTTP client raises: no network, no such model, or one that asks for a login.
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name!r} is neither in the cache ({constants.HF_HUB_CACHE}) nor to be had from the hub: {why}; "
            f"change {key}, or fetch it where there is a network: hf download {found['model']}"
        ) from error


def cached(name: str, files: Sequence[str]) -> Path:
    """The folder of a checkpoint in the cache; nothing is fetched.

    Raises:
        NotCached: not all of it is there.
    """
    from huggingface_hub import snapshot_download

    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    assert found is not None
    try:
        folder = snapshot_download(
            found["model"], revision=found["revision"], allow_patterns=list(files), local_files_only=True
        )
    except OSError as error:
        raise NotCached(name) from error
    weights = (file for file in files if file.endswith((".safetensors", ".index.json")))
    if not any((Path(folder) / file).is_file() for file in weights):
        raise NotCached(name)  # its config alone was fetched
    return Path(folder)
