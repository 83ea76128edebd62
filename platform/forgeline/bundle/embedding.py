"""Embeddings: what a network makes of samples before its last layer, be they tables, images, series, texts or graphs.

A network takes part by a method `penultimate(batch)` that returns [samples, width]; docs/bundles.md lists what it is.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import batches, pick_device
from forgeline.bundle.prediction import pieces_of
from forgeline.errors import BundleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from forgeline.bundle.bundle import Bundle


PROJECTIONS = 4
# What these answer comes from one pass through the network, a sample's answer from its own row.
_ONE_PASS = ("classification", "regression", "forecasting")


def in_one_pass(task: str, kind: str) -> bool:
    """Whether `Projections` sees embeddings while a model of this task answers data of this kind."""
    return task in _ONE_PASS and kind != "graph"


@runtime_checkable
class Embedding(Protocol):
    """A network with a layer to embed by."""

    def penultimate(self, batch: Mapping[str, Tensor]) -> Tensor: ...


class Projections:
    """Embeddings of the samples that a network answers, in the same pass, seen along a few fixed directions.

    What the last linear layer reads is the embedding, where that is a vector per sample; of other networks, and of
    those that answer by another method than `forward`, nothing is seen.

    >>> with Projections(model) as seen:              # doctest: +SKIP
    ...     model(batch)
    >>> seen.values                                   # doctest: +SKIP
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._read: Tensor | None = None
        self._parts: list[NDArray[np.float64]] = []
        self._held: list[Any] = []
        self._whole = True

    def __enter__(self) -> Self:
        from torch import nn

        layers = [module for module in self._model.modules() if isinstance(module, nn.Linear)]
        self._held = [layer.register_forward_pre_hook(self._before) for layer in layers]
        self._held.append(self._model.register_forward_hook(self._after))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._held:
            hook.remove()
        self._held = []

    @property
    def values(self) -> NDArray[np.float64] | None:
        """[samples, 4] of all passes; None where one had no embedding."""
        return np.concatenate(self._parts) if self._parts and self._whole else None

    def _before(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        # Of the layers, the one that comes last leaves what it read.
        self._read = inputs[0]

    def _after(self, model: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        read, self._read = self._read, None
        if read is None or read.ndim != 2 or not hasattr(outputs, "shape") or len(read) != outputs.shape[0]:
            self._whole = False
            return
        self._parts.append(projected(read.detach().float().cpu().numpy()))


def projected(embedding: NDArray[Any]) -> NDArray[np.float64]:
    """[n, width] -> [n, 4]: along directions of entries +-1 / sqrt(width), which keep distances.

    D. Achlioptas: Database-friendly random projections, Journal of Computer and System Sciences 66 (2003), 671-687,
    theorem 1.1. They are read off a hash of the width, so that nothing has to be kept of them.
    """
    return embedding.astype(np.float64) @ _directions(embedding.shape[1])


@lru_cache(maxsize=8)
def _directions(width: int) -> NDArray[np.float64]:
    drawn = hashlib.shake_256(f"forgeline embedding {width}".encode()).digest(-(-width * PROJECTIONS // 8))
    bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8))[: width * PROJECTIONS]
    signs: NDArray[np.float64] = (2.0 * bits - 1.0).reshape(width, PROJECTIONS) / np.sqrt(width)
    return signs


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
