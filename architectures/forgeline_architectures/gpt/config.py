"""Config of the GPT decoder; the defaults are GPT-2's smallest published size."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file


class GPTConfig(ArchitectureConfig):
    """Size and regularisation of the decoder; the vocabulary comes from the data."""

    name: Literal["gpt"] = Field(default="gpt", description="The model's name.")
    layers: PositiveInt = Field(default=12, description="Blocks of attention and feed-forward layer.")
    heads: PositiveInt = Field(default=12, description="Attention heads per block; must divide `width`.")
    width: PositiveInt = Field(default=768, description="Numbers that represent a token inside the model.")
    context: PositiveInt | None = Field(
        default=None, description="Tokens that the model can look back on; the data's row length when not given."
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share zeroed of embeddings, attention and layer outputs."
    )
    bias: bool = Field(default=True, description="Biases in linear layers and norms, as GPT-2 has them.")
    pretrained: str | None = Field(
        default=None, description="GPT-2 weights in transformers' naming to start from: a .safetensors file."
    )

    @field_validator("pretrained")
    @classmethod
    def _file_is_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"heads must divide width, got heads {self.heads} and width {self.width}; "
                "change architecture.heads or architecture.width"
            )
        return self

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
