"""Embeddings: what a network makes of samples before its last layer, be they tables, images, series, texts or graphs.

A network takes part by a method `penultimate(batch)` that returns [samples, width]; docs/bundles.md lists what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import batches, pick_device
from forgeline.bundle.prediction import pieces_of
from forgeline.errors import BundleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from forgeline.bundle.bundle import Bundle


@runtime_checkable
class Embedding(Protocol):
    """A network with a layer to embed by."""

    def penultimate(self, batch: Mapping[str, Tensor]) -> Tensor: ...


def embeddings(bundle: Bundle, raw: Any, *, batch_size: int, device: str) -> NDArray[np.float32]:
    """[samples, width] for data in any form that `Bundle.predict` takes; see `Bundle.embed`."""
    return np.concatenate(
        [embed_piece(bundle, piece, batch_size=batch_size, device=device) for piece in pieces_of(bundle, raw)]
    )


def embed_piece(bundle: Bundle, raw: Any, *, batch_size: int, device: str) -> NDArray[np.float32]:
    """[samples, width] for data that fit into memory at once.

    Raises:
        UsageError: the network has no such layer, or a setting is out of range.
        BundleError: it did not give a vector per sample.
    """
    import torch

    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; allowed: 1 or more")
    place = pick_device(device)
    model = bundle.model.to(place)
    if not isinstance(model, Embedding):
        raise UsageError(f"a {bundle.name} gives no embeddings: its network has no method `penultimate`")
    parts = []
    with torch.inference_mode():
        for batch in batches(bundle.preprocessing.encode(raw), batch_size):
            tensors = {name: torch.from_numpy(array).to(place) for name, array in batch.items()}
            try:
                vectors = model.penultimate(tensors)
            except ValueError as error:
                raise UsageError(f"a {bundle.name} gives no embeddings: {error}") from error
            parts.append(vectors.float().cpu().numpy())
    found = np.concatenate(parts)
    if found.ndim != 2:
        raise BundleError(f"`penultimate` of {bundle.name} gave the shape {list(found.shape)}, wanted [samples, width]")
    return found
