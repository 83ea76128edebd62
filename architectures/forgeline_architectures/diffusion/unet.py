"""The U-Nets of the diffusers library, built for a family's config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import UNet2DConditionModel, UNet2DModel
from torch import nn


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """Size of a U-Net.

    Attributes:
        widths: channels at each resolution.
        blocks: residual blocks at each resolution on the way down; one more on the way up.
        attention: resolutions (side in pixels) with attention; the lowest always has.
        dropout: share zeroed in each residual block.
        groups: of the normalisation.
    """

    widths: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    dropout: float
    groups: int

    def attends(self, side: int) -> list[bool]:
        """Whether each resolution of a picture of this side has attention."""
        return [side // 2**level in self.attention for level in range(len(self.widths))]


def picture_unet(size: NetworkSize, shape: Sequence[int], *, embeddings: int | None) -> nn.Module:
    """The network of Ho et al. 2020 (arXiv:2006.11239), appendix B.

    Args:
        size: of the network.
        shape: of a picture, [channels, side, side].
        embeddings: rows of the table of classes, whose embedding is added to the time's; None for no table.
    """
    channels, side, _ = shape
    attends = size.attends(side)
    network: nn.Module = UNet2DModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=size.widths,
        layers_per_block=size.blocks,
        down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        dropout=size.dropout,
        norm_num_groups=size.groups,
        num_class_embeds=embeddings,
        # The rest as in the config of the authors' converted weights (google/ddpm-cifar10-32): one head.
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
    )
    return network


def captioned_unet(
    size: NetworkSize,
    shape: Sequence[int],
    *,
    text_width: int,
    heads: int,
    known: int = 0,
    pooling_heads: int | None = None,
) -> nn.Module:
    """The network of Rombach et al. 2022 (arXiv:2112.10752), section 3.3, whose attention looks at a text as well.

    Args:
        size: of the network.
        shape: of what is denoised, [channels, side, side].
        text_width: numbers that represent a word.
        heads: of the attention.
        known: further channels that stand beside what is denoised, noisy ones, whose time the network is told too.
        pooling_heads: heads of an attention that pools the text, which is then added to the time; None without it.
    """
    channels, side, _ = shape
    attends = size.attends(side)
    network: nn.Module = UNet2DConditionModel(
        sample_size=side,
        in_channels=channels + known,
        out_channels=channels,
        block_out_channels=size.widths,
        layers_per_block=size.blocks,
        down_block_types=tuple("CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        dropout=size.dropout,
        norm_num_groups=size.groups,
        cross_attention_dim=text_width,
        class_embed_type="timestep" if known else None,
        addition_embed_type=None if pooling_heads is None else "text",
        addition_embed_type_num_heads=pooling_heads or 1,
        attention_head_dim=heads,  # so named in diffusers, which means their number here
    )
    return network
