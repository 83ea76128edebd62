"""Config of the GPT decoder; the defaults are GPT-2's smallest published size."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.decoder.config import DecoderConfig, Layers, Width, heads_divide_width
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file

# Width of the feed-forward layer as a multiple of the model's: Vaswani et al. 2017 (arXiv:1706.03762), section 3.3.
FEED_FORWARD_FACTOR = 4
NORM_EPSILON = 1e-5  # GPT-2's published code


class GPTConfig(DecoderConfig):
    """Size and regularisation of the decoder; the vocabulary comes from the data."""

    name: Literal["gpt"] = Field(default="gpt", description="The model's name.")
    layers: Layers = 12
    heads: PositiveInt = Field(default=12, description="Attention heads per block; must divide `width`.")
    width: Width = 768
    bias: bool = Field(default=True, description="Biases in linear layers and norms, as GPT-2 has them.")
    pretrained: str | None = Field(
        default=None,
        description="GPT-2 weights in transformers' naming to start from: a checkpoint folder, `hub:ORG/MODEL`, or a "
        ".safetensors file.",
    )

    @field_validator("pretrained")
    @classmethod
    def _weights_are_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        heads_divide_width(self.heads, self.width)
        return self

    def design(self, signature: Signature) -> DecoderDesign:
        """The decoder for these data."""
        return DecoderDesign(
            vocabulary=signature.outputs[0],
            context=self.context_for(signature),
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            key_value_heads=self.heads,
            head_width=self.width // self.heads,
            inner=FEED_FORWARD_FACTOR * self.width,
            norm="layer",
            norm_epsilon=NORM_EPSILON,
            positions="learned",
            activation="gelu",
            bias=self.bias,
            parallel=False,
            tied=True,
            dropout=self.dropout,
        )
