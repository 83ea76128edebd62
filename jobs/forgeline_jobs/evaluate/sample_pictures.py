"""The samples that were measured, as figures: a grid by label or of translations, or points over those of the split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline import plots
from forgeline_jobs.sample_figures import figures_of_the_family, translation_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from forgeline.bundle import Bundle

MOST, COLUMNS, MOST_ROWS = 64, 8, 16
_WHITE = 255


def sample_pictures(
    bundle: Bundle,
    made: NDArray[Any],
    own: Mapping[str, NDArray[Any]],
    attributes: NDArray[np.int64] | None,
) -> dict[str, Figure]:
    """File stem -> figure: `samples`, and what the model's family shows of itself.

    Args:
        bundle: the generator.
        made: its samples, in the range of its training.
        own: the split's.
        attributes: what was asked for, [n, attributes]; None where nothing was.
    """
    decoded: NDArray[Any] = bundle.preprocessing.decode_samples(made)
    if made.ndim == 2:
        (learnt,) = set(bundle.manifest.signature["inputs"]) - set(bundle.manifest.signature.get("conditions", {}))
        samples = plots.sample_points(decoded, bundle.preprocessing.decode_samples(own[learnt]))
    elif (source := bundle.manifest.signature.get("source")) is not None:
        samples = translation_grid(bundle.preprocessing.decode_samples(own[source]), decoded)
    else:
        samples = plots.sample_grid(by_label(decoded, attributes), COLUMNS)
    return {"samples": samples} | figures_of_the_family(bundle)


def by_label(pictures_NHWC: NDArray[np.uint8], attributes: NDArray[np.int64] | None) -> NDArray[np.uint8]:
    """The pictures of a grid: a row of the first ones of each label, white where there are no more.

    Pictures of several attributes, or of none, come in their order.
    """
    if attributes is None or attributes.shape[1] != 1:
        return pictures_NHWC[:MOST]
    rows = []
    for label in np.unique(attributes)[:MOST_ROWS]:
        chosen = pictures_NHWC[attributes[:, 0] == label][:COLUMNS]
        blank = np.full((COLUMNS - len(chosen), *pictures_NHWC.shape[1:]), _WHITE, dtype=np.uint8)
        rows.append(np.concatenate([chosen, blank]))
    return np.concatenate(rows)
