"""What a model makes, as figures: for the pictures of a run and for the report of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forgeline import plots
from forgeline.bundle.inference import pick_device
from forgeline.bundle.sampling import asked_by, make
from forgeline_jobs.data.base import as_int64

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline_jobs.data.base import Split

SAMPLES, COLUMNS = 64, 8
MOST_COLUMNS = 16


def sample_figures(bundle: Bundle, split: Split, *, device: str = "auto") -> dict[str, Figure]:
    """File stem -> figure: `samples`, and what the model's family shows of itself.

    Pictures are made for each label in turn, a column each, or for the captions of the split's first samples; a
    translation stands below its source; points are as many as the split has, over its own.

    Args:
        bundle: a generator.
        split: of the data that it learnt.
        device: where it is asked.
    """
    conditions = asked_by(bundle.manifest.signature)
    source = bundle.manifest.signature.get("source")
    if len(bundle.manifest.signature["outputs"]) == 1:
        figures = {"samples": _points(bundle, split, conditions, device)}
    elif conditions == ("label",) and bundle.classes is not None:
        columns = min(len(bundle.classes), MOST_COLUMNS)
        figures = {"samples": plots.sample_grid(bundle.sample(columns * (SAMPLES // columns), device=device), columns)}
    elif source is not None:
        batch = split.batch(_spread(len(split)))
        shown = {name: batch[name] for name in conditions}
        made = _made(bundle, len(shown[source]), shown, device)
        figures = {"samples": translation_grid(bundle.preprocessing.decode_samples(shown[source]), made)}
    else:
        shown = conditions_of_split(split, conditions, SAMPLES)
        count = min(SAMPLES, len(split)) if conditions else SAMPLES
        figures = {"samples": plots.sample_grid(_made(bundle, count, shown, device), COLUMNS)}
    return figures | figures_of_the_family(bundle)


def translation_grid(sources_NHWC: NDArray[Any], made_NHWC: NDArray[Any]) -> Figure:
    """Rows of sources, each above the row of their translations: a few from all over, as many as fill whole rows."""
    chosen = _spread(len(made_NHWC))
    sources_NHWC, made_NHWC = sources_NHWC[chosen], made_NHWC[chosen]
    rows = len(made_NHWC) // COLUMNS or 1
    size = made_NHWC.shape[1:]
    both = [pictures[: rows * COLUMNS].reshape(rows, -1, *size) for pictures in (sources_NHWC, made_NHWC)]
    return plots.sample_grid(np.stack(both, axis=1).reshape(-1, *size), both[0].shape[1])


def _spread(count: int) -> NDArray[np.int64]:
    """Places of the pictures that are shown: a split may be in the order of its classes."""
    return as_int64(np.linspace(0, count - 1, min(SAMPLES // 2, count)))


def conditions_of_split(split: Split, names: tuple[str, ...], count: int) -> dict[str, NDArray[Any]]:
    """The encoded conditions of a split's first samples."""
    batch = split.batch(as_int64(range(min(count, len(split)))))
    return {name: batch[name] for name in names}


def _made(bundle: Bundle, count: int, conditions: Mapping[str, NDArray[Any]], device: str) -> NDArray[Any]:
    return bundle.preprocessing.decode_samples(make(bundle, count, conditions, device=device))


def _points(bundle: Bundle, split: Split, conditions: tuple[str, ...], device: str) -> Figure:
    batch = split.batch(as_int64(range(len(split))))
    (learnt,) = set(bundle.manifest.signature["inputs"]) - set(conditions)
    made = _made(bundle, len(split), {name: batch[name] for name in conditions}, device)
    return plots.sample_points(made, bundle.preprocessing.decode_samples(batch[learnt]))


def first_samples(split: Split) -> dict[str, NDArray[Any]]:
    """As many samples as a row of a figure has."""
    return split.batch(as_int64(range(min(COLUMNS, len(split)))))


def reconstruction_figures(
    bundle: Bundle, batch: Mapping[str, NDArray[Any]], *, device: str = "auto"
) -> dict[str, Figure]:
    """`reconstructions`: a row of pictures that are wanted, one of what is shown where that has noise, one of answers.

    Args:
        bundle: an autoencoder.
        batch: samples in its encoding.
        device: where it is asked.
    """
    import torch

    place = pick_device(device)
    with torch.inference_mode():
        made = bundle.model.to(place)({"image": torch.from_numpy(batch["image"]).to(place)})
    rows = [*([batch["clean"]] if "clean" in batch else []), batch["image"], made.float().cpu().numpy()]
    pictures: NDArray[Any] = bundle.preprocessing.decode_samples(np.concatenate(rows))
    return {"reconstructions": plots.sample_grid(pictures, len(batch["image"]))}


def figures_of_the_family(bundle: Bundle) -> dict[str, Figure]:
    """File stem -> figure of what the model's family shows of itself."""
    import torch

    illustrations = getattr(bundle.model, "illustrations", None)
    if illustrations is None:
        return {}
    device = next(bundle.model.parameters()).device
    with torch.inference_mode():
        drawn = illustrations(generator=torch.Generator(device=device).manual_seed(0))
    figures = {}
    for stem, tensor in drawn.items():
        pictures: NDArray[Any] = bundle.preprocessing.decode_samples(tensor.float().cpu().flatten(0, 1).numpy())
        figures[stem] = plots.sample_grid(pictures, tensor.shape[1])
    return figures
