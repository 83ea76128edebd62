"""What a generator with a bound on its likelihood gives to a split, in nats per sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forgeline.bundle import Bundle

SEED = 0


def has_bound(bundle: Bundle) -> bool:
    """Whether the model knows how likely samples are."""
    return hasattr(bundle.model, "bound")


def bound_of(bundle: Bundle, batches: Iterable[Mapping[str, NDArray[Any]]], *, device: str) -> dict[str, float]:
    """`negative_elbo` and its two parts, meant over the samples, with one draw of the latent numbers of each.

    Args:
        bundle: of a model with `bound(batch, generator)`, which gives the two parts of each sample.
        batches: the split.
        device: `cpu` or `cuda`.
    """
    import torch

    model: Any = bundle.model.to(device)
    generator = torch.Generator(device=device).manual_seed(SEED)
    reconstruction, kl, count = 0.0, 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            parts = model.bound({name: torch.from_numpy(array).to(device) for name, array in batch.items()}, generator)
            reconstruction += float(parts.reconstruction.double().sum())
            kl += float(parts.kl.double().sum())
            count += len(parts.kl)
    return {
        "negative_elbo": (reconstruction + kl) / count,
        "reconstruction": reconstruction / count,
        "kl": kl / count,
    }
