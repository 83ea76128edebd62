"""What the configs of all decoders have in common; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PositiveInt

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature

Layers = Annotated[PositiveInt, Field(description="Blocks of attention and feed-forward layer.")]
Width = Annotated[PositiveInt, Field(description="Numbers that represent a token inside the model.")]
FeedForwardWidth = Annotated[PositiveInt, Field(description="Width of the feed-forward layer.")]
HeadWidth = Annotated[PositiveInt, Field(description="Numbers per attention head.")]
NormEpsilon = Annotated[float, Field(gt=0, description="Added to the mean square or variance in each norm.")]
RotaryBase = Annotated[float, Field(gt=1, description="Base of the rotations' speeds; larger for longer contexts.")]


class DecoderConfig(ArchitectureConfig):
    """Size and regularisation of a decoder; the vocabulary comes from the data."""

    layers: Layers
    heads: PositiveInt = Field(description="Attention heads per block.")
    width: Width
    context: PositiveInt | None = Field(
        default=None, description="Tokens that the model can look back on; the data's row length when not given."
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share zeroed of embeddings, attention and layer outputs."
    )

    def check(self, signature: Signature) -> None:
        """Compare context and rows.

        Raises:
            ValueError: a row is longer than the context.
        """
        length = signature.inputs["tokens"].shape[0]
        if self.context is not None and self.context < length:
            raise ValueError(
                f"context is {self.context} and the data's rows have {length} tokens; "
                "change architecture.context or data.context"
            )

    @property
    def shared_parts(self) -> Mapping[str, int]:
        """Key of the architecture -> what of it is shared out among workers that share matrices."""
        return {"heads": self.heads}

    def check_parallel(self, workers: int) -> None:
        """Check that each of so many workers gets as many heads.

        Raises:
            ValueError: some are left over.
        """
        for key, parts in self.shared_parts.items():
            if parts % workers:
                raise ValueError(
                    f"{key} {parts} is not shared evenly by strategy.tensor_parallel {workers}; change one of them"
                )

    def context_for(self, signature: Signature) -> int:
        """Tokens that the model can look back on, with these data."""
        return self.context or signature.inputs["tokens"].shape[0]


def heads_divide_width(heads: int, width: int) -> None:
    """Check that the width is shared out among the heads.

    Raises:
        ValueError: it cannot be.
    """
    if width % heads:
        raise ValueError(
            f"heads must divide width, got heads {heads} and width {width}; "
            "change architecture.heads or architecture.width"
        )


def rotation_needs_pairs(head_width: int, key: str) -> None:
    """Check that a head can be rotated, which takes its numbers in pairs.

    Raises:
        ValueError: the head has an odd number of them.
    """
    if head_width % 2:
        raise ValueError(f"rotary positions need an even width per head, got {head_width}; change {key}")
