"""Channels that are removed from a trained network: which of them, and how a state dict goes on without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

Names = Sequence[str]


def kept_channels(weights: Sequence[Tensor], share: float) -> Tensor:
    """Numbers of the channels that stay, in order: those of the largest norms (Li et al. 2017, arXiv:1608.08710, 3.1).

    Args:
        weights: of the layers that make the channels, each [channels, inputs].
        share: of the channels that go; at least one stays.
    """
    norms = sum((weight.detach().float().abs().sum(1) for weight in weights[1:]), weights[0].detach().abs().sum(1))
    assert isinstance(norms, Tensor)
    staying = max(1, len(norms) - round(share * len(norms)))
    return norms.topk(staying).indices.sort().values


def without_channels(state: Mapping[str, Tensor], kept: Tensor, *, rows: Names, columns: Names) -> dict[str, Tensor]:
    """A state dict with the kept channels alone.

    Args:
        state: of the network.
        kept: numbers of the channels that stay.
        rows: tensors whose first axis is the channels.
        columns: tensors whose second axis is.
    """
    narrowed = dict(state)
    for name in rows:
        narrowed[name] = narrowed[name][kept].clone()
    for name in columns:
        narrowed[name] = narrowed[name][:, kept].clone()
    return narrowed


def narrower_feed_forward(
    state: Mapping[str, Tensor], layers: Sequence[tuple[str, str]], share: float
) -> tuple[int, dict[str, Tensor]]:
    """Fewer channels between the two matrices of each feed-forward network, as many in each.

    Args:
        state: of the network.
        layers: names of the modules up and down of each network.
        share: of the channels that go.

    Returns:
        The width that is left, and the state.
    """
    narrowed, width = dict(state), 0
    for up, down in layers:
        kept = kept_channels([narrowed[f"{up}.weight"]], share)
        rows = [name for name in (f"{up}.weight", f"{up}.bias") if name in narrowed]
        narrowed = without_channels(narrowed, kept, rows=rows, columns=[f"{down}.weight"])
        width = len(kept)
    return width, narrowed
