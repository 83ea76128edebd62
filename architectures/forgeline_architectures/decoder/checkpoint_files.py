"""Weights of transformers' models: a .safetensors file, a checkpoint folder, or such a folder of the hub.

A folder holds config.json beside model.safetensors, or beside shards that model.safetensors.index.json lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forgeline_architectures import hub
from forgeline_architectures.weight_files import KEY

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def read_weights(place: str | Path) -> dict[str, Tensor]:
    """All tensors of a file, a folder or a model of the hub, by their names.

    Raises:
        ValueError: it cannot be had, or cannot be read.
        hub.NotCached: it would have to be fetched for its shapes alone.
    """
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(local_checkpoint(place, (*hub.CONFIG, *hub.WEIGHTS))):
        tensors |= read_tensors(path)
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, by their names; where torch's device is `meta`, they have shapes and no numbers.

    Raises:
        ValueError: it cannot be read.
    """
    from safetensors.torch import load_file

    try:
        return _shapes(path) if _without_numbers() else load_file(path)
    except Exception as error:
        raise ValueError(f"'{path}' is not a readable .safetensors file: {error}; change {KEY}") from error


def same_weights(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal; where they have no numbers, whether their shapes are."""
    return one.shape == other.shape if one.is_meta else torch.equal(one, other)


def read_config(place: str | Path) -> dict[str, Any] | None:
    """The config of a checkpoint folder, or of the folder that a file of weights lies in; None for a file alone.

    Of a model of the hub, nothing but its config is fetched.

    Raises:
        ValueError: the folder has none, it is not JSON, or there is no such model.
    """
    local = local_checkpoint(place, hub.CONFIG)
    if local.is_dir():
        return read_json(local / CONFIG)
    beside = local.parent / CONFIG
    config = read_json(beside) if beside.is_file() else {}
    return config if "model_type" in config else None  # else it is the config of something else


def refuse_leftovers(left: Iterable[str], *, source: str, keys: str) -> None:
    """Refuse weights that would be left out without a word, such as those of layers that the model does not have.

    Args:
        left: their names of the weights that the model has no place for.
        source: what a message calls the weights.
        keys: settings of the architecture that decide about their place, as a message lists them.

    Raises:
        ValueError: there are any.
    """
    names = sorted(left)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ValueError(
            f"the {source} weights hold {names[0]}{more} that the model has no place for; "
            f"change {keys} of the architecture, or {KEY}"
        )


def copy_weights(
    own: Mapping[str, Tensor], weight_of: Callable[[str], tuple[str, Tensor | None]], *, source: str, keys: str
) -> None:
    """Copy another library's weights into a model's own tensors.

    Args:
        own: the model's state dict.
        weight_of: own name -> (their name or names, their weight in our layout or None where it is missing).
        source: what a message calls the weights.
        keys: settings of the architecture that decide the shapes, as a message lists them.

    Raises:
        ValueError: a weight is missing or has another shape than the model's.
    """
    for name, tensor in own.items():
        theirs, weight = weight_of(name)
        if name == "tokens.weight" and weight is not None and len(weight) != len(tensor):
            raise ValueError(
                f"the {source} weights know {len(weight)} tokens, the data have a vocabulary of {len(tensor)}; "
                f"change data.tokenizer, data.vocabulary or {KEY}"
            )
        if weight is None or weight.shape != tensor.shape:
            got = "is missing" if weight is None else f"has the shape {tuple(weight.shape)}"
            raise ValueError(
                f"{source} weight {theirs} {got}, the model needs {tuple(tensor.shape)}; "
                f"change {keys} of the architecture, or {KEY}"
            )
        tensor.copy_(weight)


def write_checkpoint(folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint folder; what is there under these names is replaced."""
    from safetensors.torch import save_file

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, place / WEIGHTS, metadata={"format": "pt"})
    (place / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")


def _shapes(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stored:
        return {name: torch.empty(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118


def _without_numbers() -> bool:
    return torch.get_default_device().type == "meta"


def local_checkpoint(place: str | Path, files: tuple[str, ...]) -> Path:
    """Where a checkpoint lies on this machine, after these files of it were fetched if it is one of the hub."""
    if not (isinstance(place, str) and place.startswith(hub.PREFIX)):
        return Path(place)
    small = tuple(file for file in files if file.endswith(".json"))
    if small != files and _without_numbers():  # gigabytes, of which shapes alone are wanted
        hub.fetch(place, small, key=KEY)
        return hub.cached(place, files)
    return hub.fetch(place, files, key=KEY)


def _weight_files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    if (place / WEIGHTS).is_file():
        return [place / WEIGHTS]
    if not (place / INDEX).is_file():
        raise ValueError(f"'{place}' holds neither {WEIGHTS} nor {INDEX}; change {KEY}")
    listed = read_json(place / INDEX).get("weight_map")
    names = sorted(set(listed.values())) if isinstance(listed, dict) else []
    # A shard stands in the folder itself: an index that names another place is refused, not followed.
    if not names or any(Path(str(name)).name != name for name in names):
        raise ValueError(f"'{place / INDEX}' lists no shards of its folder under weight_map; change {KEY}")
    return [place / name for name in names]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' is not a readable JSON file: {error}; change {KEY}") from error
    if not isinstance(content, dict):
        raise ValueError(f"'{path}' holds no JSON object; change {KEY}")
    return content
