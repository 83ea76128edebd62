"""Config of the LLaMA decoder; the defaults are the 7B model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.decoder.config import (
    DecoderConfig,
    FeedForwardWidth,
    Layers,
    NormEpsilon,
    RotaryBase,
    Width,
    heads_divide_width,
    rotation_needs_pairs,
)
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file

# Width of the gated layer: 2/3 of 4 x width (Touvron et al. 2023, section 2.2), up to a multiple of 256 as in the
# published code.
FEED_FORWARD_MULTIPLE = 256


class LlamaConfig(DecoderConfig):
    """Size and regularisation of the decoder; the vocabulary comes from the data."""

    name: Literal["llama"] = Field(default="llama", description="The model's name.")
    layers: Layers = 32
    heads: PositiveInt = Field(default=32, description="Query heads per block; must divide `width`.")
    width: Width = 4096
    key_value_heads: PositiveInt | None = Field(
        default=None, description="Heads of keys and values, shared by the query heads; `heads` when not given."
    )
    feed_forward: FeedForwardWidth | None = Field(
        default=None,
        description="Width of the feed-forward layer; 8/3 of `width`, up to a multiple of 256, when not given.",
    )
    rotary_base: RotaryBase = 10_000.0
    norm_epsilon: NormEpsilon = 1e-5
    tied: bool = Field(
        default=False, description="Output layer is the table of tokens, as in LLaMA 3.2's small models."
    )
    pretrained: str | None = Field(
        default=None,
        description="LLaMA weights in transformers' naming to start from: a checkpoint folder, `hub:ORG/MODEL`, or a "
        ".safetensors file.",
    )

    @field_validator("pretrained")
    @classmethod
    def _weights_are_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        heads_divide_width(self.heads, self.width)
        rotation_needs_pairs(self.width // self.heads, "architecture.heads or architecture.width")
        if self.heads % self.groups:
            raise ValueError(
                f"key_value_heads must divide heads, got key_value_heads {self.groups} and heads {self.heads}; "
                "change architecture.key_value_heads or architecture.heads"
            )
        return self

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.key_value_heads or self.heads

    @property
    def shared_parts(self) -> Mapping[str, int]:
        """As of every decoder, and those that may be other numbers here."""
        return {"heads": self.heads, "key_value_heads": self.groups, "feed_forward": self.inner}

    @property
    def inner(self) -> int:
        """Width of the feed-forward layer."""
        two_thirds = 8 * self.width // 3
        return self.feed_forward or -(-two_thirds // FEED_FORWARD_MULTIPLE) * FEED_FORWARD_MULTIPLE

    def design(self, signature: Signature) -> DecoderDesign:
        """The decoder for these data."""
        return DecoderDesign(
            vocabulary=signature.outputs[0],
            context=self.context_for(signature),
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            key_value_heads=self.groups,
            head_width=self.width // self.heads,
            inner=self.inner,
            norm="rms",
            norm_epsilon=self.norm_epsilon,
            positions="rotary",
            rotary_base=self.rotary_base,
            activation="swiglu",
            bias=False,
            parallel=False,
            tied=self.tied,
            dropout=self.dropout,
        )
