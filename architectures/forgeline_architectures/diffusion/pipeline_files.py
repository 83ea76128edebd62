"""Networks of diffusers on disk: a pipeline's folder with a folder for each network, or the folder of one network.

Each holds config.json beside diffusion_pytorch_model.safetensors. Pickles, which old pipelines have as well, are never
read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from forgeline_architectures.decoder.checkpoint_files import local_checkpoint, read_json, read_tensors
from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule
from forgeline_architectures.weight_files import KEY

CONFIG, WEIGHTS, NOISE = "config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"
NETWORK, AUTOENCODER, SCHEDULER = "unet", "vae", "scheduler"  # folders of a pipeline
# What a network computes depends on these, and no weight's shape tells them.
UNSEEN = (
    "act_fn", "attention_head_dim", "center_input_sample", "downsample_padding", "flip_sin_to_cos", "freq_shift",
    "mid_block_scale_factor", "norm_eps", "norm_num_groups", "time_embedding_type",
)  # fmt: skip
NOISY = ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps", "prediction_type")
OUR_KEYS: Mapping[str, str] = {
    "norm_num_groups": "groups",
    "attention_head_dim": "heads",
    "beta_schedule": "schedule",
    "beta_start": "schedule",
    "beta_end": "schedule",
    "num_train_timesteps": "timesteps",
    "prediction_type": "prediction",
}


def load_network(network: nn.Module, place: str, part: str, *, schedule: NoiseSchedule | None = None) -> dict[str, Any]:
    """Copy a network's weights from a checkpoint.

    Args:
        network: of diffusers.
        place: folder of a pipeline or of one network, or such a pipeline of the hub.
        part: name of the network's folder in a pipeline.
        schedule: the noise that the network is to work with, compared with the pipeline's, where it says.

    Returns:
        The checkpoint's config of the network.

    Raises:
        ValueError: it cannot be had or read, its weights do not fit, or it says that they are for another network or
            noise.
    """
    root = local_checkpoint(place, tuple(_names(part)))
    folder = root / part if (root / part).is_dir() else root
    told = read_json(folder / CONFIG)
    _compare({name: told[name] for name in UNSEEN if name in told}, dict(cast(Any, network).config))
    for noise in (root / SCHEDULER / NOISE, root / NOISE):
        if schedule is not None and noise.is_file():
            _compare({name: value for name, value in read_json(noise).items() if name in NOISY}, schedule.for_diffusers)
    _copy(network.state_dict(), read_tensors(folder / WEIGHTS), folder)
    return told


def save_pipeline(folder: str | Path, parts: Mapping[str, Any], *, name: str | None = None) -> None:
    """Write a folder for each network or scheduler, and `model_index.json` where these are a whole pipeline.

    Args:
        folder: to write into; what is there under these names is replaced.
        parts: folder in the pipeline -> network or scheduler of diffusers.
        name: class of the pipeline in diffusers.
    """
    import diffusers

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for part, each in parts.items():
        each.save_pretrained(place / part)
    if name is not None:
        index = {"_class_name": name, "_diffusers_version": diffusers.__version__}
        listed = {part: ["diffusers", type(each).__name__] for part, each in parts.items()}
        (place / "model_index.json").write_text(json.dumps(index | listed, indent=2) + "\n", encoding="utf-8")


def _names(part: str) -> Iterator[str]:
    """What is fetched from the hub: files of the part's folder, or beside each other in old pipelines."""
    yield from (f"{part}/{CONFIG}", f"{part}/{WEIGHTS}", CONFIG, WEIGHTS, f"{SCHEDULER}/{NOISE}", NOISE)


def _compare(told: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    for name, value in told.items():
        if value != own.get(name):
            key = OUR_KEYS.get(name)
            change = f"architecture.{key} or {KEY}" if key else KEY
            raise ValueError(f"{name} of the model is {own.get(name)}, the checkpoint's is {value}; change {change}")


def _copy(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], folder: Path) -> None:
    left = set(theirs)
    for name, tensor in own.items():
        found = theirs.get(name)
        if found is None or found.shape != tensor.shape:
            got = "is missing" if found is None else f"has the shape {tuple(found.shape)}"
            raise ValueError(
                f"weight {name} of {folder} {got}, the model needs {tuple(tensor.shape)}; change the sizes of the "
                f"architecture, data.size or data.condition, or {KEY}"
            )
        tensor.copy_(found)
        left.remove(name)
    if left:
        raise ValueError(
            f"{folder} holds {min(left)}, which the model has no place for; change the sizes of the architecture, or "
            f"{KEY}"
        )
