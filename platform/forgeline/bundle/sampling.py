"""Samples from a generator: conditions encoded, then drawn in pieces from one stream of random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import pick_device
from forgeline.errors import UsageError
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

    from forgeline.bundle.bundle import Bundle


def asked_by(signature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of all inputs that a sample is made by: the conditions, and the source that is translated."""
    source = signature.get("source")
    return (*signature.get("conditions", {}), *([] if source is None else [source]))


def conditions_of(bundle: Bundle, count: int, given: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The conditions of `count` samples, encoded.

    Args:
        bundle: a generator.
        count: samples.
        given: condition -> one value for all samples, or one for each. Labels that are not given are taken in turn. A
            value of a source is a picture: its path, a Pillow image or an array [h, w] or [h, w, c].

    Raises:
        UsageError: the model is no generator; a condition is unknown or missing, or has another number of values.
        DataError: a value is none that the model knows.
    """
    _check(bundle, count)
    preprocessing = bundle.preprocessing
    known, source = asked_by(bundle.manifest.signature), bundle.manifest.signature.get("source")
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) if known else "it makes whatever it likes: leave the condition out"
            raise UsageError(f"the model takes no condition {name!r}; {hint}")
    encoded = {}
    for name in known:
        values = given.get(name)
        if values is None:
            if preprocessing.classes is None or name != "label":
                raise UsageError(f"the model makes samples by {name}; give one")
            labels = preprocessing.classes
            values = [labels[number % len(labels)] for number in range(count)]
        elif name == source and isinstance(values, np.ndarray) and cast("Any", preprocessing).is_one(values):
            values = [values] * count
        elif isinstance(values, str) or not hasattr(values, "__len__"):  # a number, a path or a Pillow image
            values = [values] * count
        elif len(values) != count:
            raise UsageError(f"{name} has {len(values)} values for {count} samples; give one, or one for each")
        encoded[name] = preprocessing.encode_condition(name, list(values))
    return encoded


def beginning(bundle: Bundle, image: Any) -> NDArray[Any]:
    """A picture that samples begin with, or one for each, encoded [n, C, H, W].

    Raises:
        UsageError: the model makes no pictures.
        DataError: it cannot be read, or has another size.
    """
    if len(bundle.manifest.signature["outputs"]) != 3:
        raise UsageError("the model makes no pictures, so that it begins with none; leave image out")
    preprocessing: Any = bundle.preprocessing
    raw = preprocessing.read(image) if isinstance(image, str | Path) else image
    return cast("NDArray[Any]", preprocessing.encode(raw)["image"])


def make(
    bundle: Bundle,
    count: int,
    conditions: Mapping[str, NDArray[Any]],
    *,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 256,
    image: NDArray[Any] | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Samples in the range of the model's training, [count, *outputs], for encoded conditions.

    Args:
        bundle: a generator.
        count: samples.
        conditions: encoded, `count` rows each.
        seed: of all that is drawn.
        device: auto, cpu, cuda or cuda:N.
        batch_size: samples that are made together.
        image: pictures that samples begin with, encoded: one for all, or one for each.
        options: of the family.

    Raises:
        UsageError: the model is no generator, cannot begin with a picture, or a setting is out of range.
    """
    _check(bundle, count)
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; allowed: 1 or more")
    place = pick_device(device)
    model = bundle.model.to(place)
    if image is not None:
        image = _for_each(image, count)
    return draw(
        model, conditions, count=count, seed=seed, device=place, batch_size=batch_size, options=options, image=image
    )


def _for_each(image: NDArray[Any], count: int) -> NDArray[Any]:
    """A row for each sample."""
    if len(image) not in (1, count):
        raise UsageError(f"image has {len(image)} pictures for {count} samples; give one, or one for each")
    return np.repeat(image, count // len(image), axis=0)


def _check(bundle: Bundle, count: int) -> None:
    if bundle.task != "generation":
        raise UsageError(f"this model is for {bundle.task}; only generators make samples")
    if count < 1:
        raise UsageError(f"count is {count}; allowed: 1 or more")


def draw(
    model: nn.Module,
    condition: Mapping[str, NDArray[Any]],
    *,
    count: int,
    seed: int,
    device: torch.device,
    batch_size: int,
    options: Mapping[str, Any],
    image: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """`count` samples [count, ...] in the range of the model's training, out of pictures where some are given.

    Raises:
        UsageError: the model cannot make samples, or none out of pictures; an option is unknown or out of range.
    """
    import torch

    if not hasattr(model, "sample"):
        raise UsageError(f"{type(model).__name__} makes no samples; allowed: models of the task generation")
    if image is not None and not hasattr(model, "vary"):
        raise UsageError(f"{type(model).__name__} begins with noise, not with a picture; leave image out")
    generator = torch.Generator(device=device).manual_seed(seed)
    parts = []
    with torch.inference_mode():
        for start in range(0, count, batch_size):
            rows = min(batch_size, count - start)
            asked = {
                name: torch.from_numpy(values[start : start + rows]).to(device) for name, values in condition.items()
            }
            try:
                if image is None:
                    made = cast("Any", model).sample(rows, asked, generator=generator, options=options)
                else:
                    begun = torch.from_numpy(image[start : start + rows]).to(device)
                    made = cast("Any", model).vary(begun, asked, generator=generator, options=options)
            except ValueError as error:
                raise UsageError(f"{error}") from error
            parts.append(made.float().cpu().numpy())
    return np.concatenate(parts)
