"""Weights to and from safetensors, with tied parameters stored once.

safetensors refuses tensors that share memory, so of several names for the same tensor the first is written and the
others are listed in the file's metadata under one key (its map has no order: a second key would make equal weights
give different bytes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.errors import BundleError

if TYPE_CHECKING:
    from torch import Tensor

_TIED = "tied"


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict, wherever its tensors live.

    Raises:
        BundleError: the disk does not take it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kept: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    owners: dict[tuple[object, ...], str] = {}
    for name, tensor in state.items():
        identity = _identity(tensor)
        if identity is not None and identity in owners:
            tied[name] = owners[identity]
            continue
        if identity is not None:
            owners[identity] = name
        # A copy, because a view of a larger tensor would still share its memory.
        kept[name] = tensor.detach().cpu().clone().contiguous()
    try:
        save_file(kept, path, metadata={_TIED: json.dumps(tied, sort_keys=True)})
    except (SafetensorError, OSError) as error:
        raise BundleError(f"cannot write {path}: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict that was written, every tied name present.

    Raises:
        BundleError: it is not a safetensors file, or its ties are broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            ties = json.loads((stored.metadata() or {}).get(_TIED, "{}"))
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a mapping)
        state.update({name: state[owner] for name, owner in ties.items()})
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise BundleError(f"{path} has broken metadata about tied weights: {error!r}") from error
    return state


def read_shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the state dict that was written, without reading its numbers.

    Raises:
        BundleError: it is not a safetensors file, or its ties are broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stored:
            ties = json.loads((stored.metadata() or {}).get(_TIED, "{}"))
            shapes = {name: list(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
        shapes.update({name: shapes[owner] for name, owner in ties.items()})
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise BundleError(f"{path} has broken metadata about tied weights: {error!r}") from error
    return shapes


def _identity(tensor: Tensor) -> tuple[object, ...] | None:
    """Equal for two names of one tensor; None where there is nothing to share."""
    if tensor.numel() == 0:
        return None
    pointer = tensor.untyped_storage().data_ptr()
    return tensor.device, pointer, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
