"""Config of T5; the defaults are T5-small's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.weight_files import weight_file


class T5Config(ArchitectureConfig):
    """Size and regularisation of both sides, and the search for the target."""

    name: Literal["t5"] = Field(default="t5", description="The model's name.")
    layers: PositiveInt = Field(default=6, description="Layers of the encoder.")
    decoder_layers: PositiveInt | None = Field(
        default=None, description="Layers of the decoder; `layers` when not given."
    )
    heads: PositiveInt = Field(default=8, description="Attention heads per layer.")
    width: PositiveInt = Field(default=512, description="Numbers that represent a token between the layers.")
    head_width: PositiveInt = Field(default=64, description="Numbers per attention head.")
    feed_forward: PositiveInt = Field(default=2048, description="Width of the feed-forward layers.")
    activation: Literal["relu", "gated-gelu"] = Field(
        default="relu", description="Feed-forward layer: the paper's, or the gated one of T5 1.1."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share zeroed of embeddings, attention and layer outputs."
    )
    beams: PositiveInt = Field(default=4, description="Beginnings that the search keeps; 1 takes the likeliest token.")
    length_penalty: float = Field(
        default=0.6, ge=0, description="Exponent by which longer targets are preferred; 0 ranks by probability alone."
    )
    pretrained: str | None = Field(
        default=None,
        description="T5 weights in transformers' naming to start from: a checkpoint folder, `hub:ORG/MODEL`, or a "
        ".safetensors file.",
    )

    @field_validator("pretrained")
    @classmethod
    def _weights_are_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)
