"""`forgeline sample`: what a generator makes, as one picture of a grid or as arrays."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli.predict import ModelReferenceArgument, check_output, load_model
from forgeline.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUFFIXES = (".png", ".npz")
_COUNT = 16


def sample(
    model: ModelReferenceArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .png for a grid of pictures, .npz for arrays.")
    ],
    count: Annotated[
        int | None,
        typer.Option(min=1, help=f"How many samples; {_COUNT} when not given, or as many as --source has pictures."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="What to make; once for all samples, or repeated for each in turn.")
    ] = None,
    caption: Annotated[str | None, typer.Option(help="What to make, in words.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="What to translate: a picture, a folder of pictures, or an .npz file.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture to begin with in the place of noise, for families that can.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same samples.")] = 0,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Setting of the model's family; repeatable.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples made at a time.")] = 256,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --output if it is there.")
    ] = False,
) -> None:
    """Make samples with a generator."""
    options = dict(_setting(text) for text in option or [])
    if output.suffix not in _SUFFIXES:
        raise UsageError(f"--output: {output.name} ends in none of {', '.join(_SUFFIXES)}")
    check_output(output, None, overwrite=overwrite)
    condition: dict[str, Any] = {} if caption is None else {"caption": caption}
    bundle = load_model(model)
    if source is not None:
        pictures: Any = bundle.preprocessing.read(source)
        count = count or len(pictures)
        condition["source"] = [pictures[number % len(pictures)] for number in range(count)]
    count = count or _COUNT
    if label:
        condition["label"] = [label[number % len(label)] for number in range(count)]
    samples = bundle.sample(count, condition, seed=seed, batch_size=batch_size, image=image, **options)
    if output.suffix == ".png" and samples.ndim != 4:
        raise UsageError(f"--output: the model makes points, not pictures; give a file that ends in .npz, not {output}")
    try:
        _write(samples, output)
    except OSError as error:
        raise UsageError(f"--output: cannot write {output} ({error.strerror or error})") from error
    print(f"wrote {count} samples to {output}", file=sys.stderr)


def _setting(text: str) -> tuple[str, Any]:
    """`steps=20` -> ("steps", 20); what is no JSON is a text."""
    name, equals, value = text.partition("=")
    taken = ("condition", "count", "device", "image", "seed", "batch_size")
    if not equals or not name.isidentifier() or name in taken:
        raise UsageError(f"--option: got {text!r}; write NAME=VALUE, such as steps=20, a setting of the model's family")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _write(samples: NDArray[Any], output: Path) -> None:
    import numpy as np

    if output.suffix == ".npz":
        np.savez_compressed(output, samples=samples)
        return
    from PIL import Image

    from forgeline.plots import grid

    whole: NDArray[np.uint8] = grid(samples, math.ceil(math.sqrt(len(samples))))
    Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole).save(output)
