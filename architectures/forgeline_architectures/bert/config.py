"""Config of BERT; the defaults are BERT-base's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.decoder.config import heads_divide_width
from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file


class BertConfig(ArchitectureConfig):
    """Size and regularisation of the encoder; the vocabulary comes from the data."""

    name: Literal["bert"] = Field(default="bert", description="The model's name.")
    layers: PositiveInt = Field(default=12, description="Layers of attention and feed-forward network.")
    heads: PositiveInt = Field(default=12, description="Attention heads per layer; must divide `width`.")
    width: PositiveInt = Field(default=768, description="Numbers that represent a token inside the model.")
    feed_forward: PositiveInt | None = Field(
        default=None, description="Width of the feed-forward layers; 4 x `width` when not given."
    )
    context: PositiveInt | None = Field(
        default=None,
        description="Most tokens of a text; those of the data when not given. Pretrained weights have their own.",
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share zeroed of embeddings, attention and layer outputs."
    )
    pretrained: str | None = Field(
        default=None,
        description="Weights in transformers' naming to start from: a checkpoint folder, `hub:ORG/MODEL`, or a "
        ".safetensors file, such as `weights.safetensors` of a bundle of this family.",
    )

    @field_validator("pretrained")
    @classmethod
    def _weights_are_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        heads_divide_width(self.heads, self.width)
        return self

    def check(self, signature: Signature) -> None:
        """Compare context and texts.

        Raises:
            ValueError: a text may be longer than the context, or the data do not say how many tokens there are.
        """
        if signature.task != "masked_language_modelling" and signature.vocabulary is None:
            raise ValueError("the data do not say how many tokens their texts have; change data.name")
        length = signature.inputs["tokens"].shape[0]
        if self.context is not None and self.context < length:
            raise ValueError(
                f"context is {self.context} and the data's texts have up to {length} tokens; "
                "change architecture.context or data.context"
            )

    def vocabulary_for(self, signature: Signature) -> int:
        """Tokens that are known, with these data."""
        return signature.vocabulary or signature.outputs[0]

    def context_for(self, signature: Signature) -> int:
        """Most tokens of a text, with these data."""
        return self.context or signature.inputs["tokens"].shape[0]
