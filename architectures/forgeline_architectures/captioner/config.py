"""Config of the captioner."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, field_validator

from forgeline_architectures.cnn.config import CNNConfig
from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature


class CaptionerConfig(ArchitectureConfig):
    """What sees the picture, what writes the caption, and the search for it."""

    name: Literal["captioner"] = Field(default="captioner", description="The model's name.")
    encoder: CNNConfig = Field(
        default_factory=lambda: CNNConfig(name="resnet18"),
        description="The timm network that sees the picture, with the settings of timm's models.",
    )
    cell: Literal["lstm", "gru"] = Field(default="lstm", description="The recurrent unit of the decoder.")
    attention: Literal["additive", "dot", "none"] = Field(
        default="additive",
        description="How the decoder looks at the picture: Bahdanau's score, Luong's, or only through its first state.",
    )
    embedding: PositiveInt = Field(default=128, description="Numbers that represent a word.")
    hidden: PositiveInt = Field(default=256, description="Units of the decoder's state.")
    layers: PositiveInt = Field(default=1, description="Layers of the decoder, on top of each other.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share zeroed of embeddings, between layers, and before the last layer."
    )
    beams: PositiveInt = Field(default=4, description="Beginnings that the search keeps; 1 takes the likeliest word.")
    length_penalty: float = Field(
        default=1.0, ge=0, description="Exponent by which longer captions are preferred; 0 ranks by probability alone."
    )

    @field_validator("encoder")
    @classmethod
    def _without_head(cls, encoder: CNNConfig) -> CNNConfig:
        if encoder.auxiliary or encoder.dropout:
            raise ValueError(
                f"the encoder's last layer and auxiliary head are not used, got dropout {encoder.dropout} and "
                f"auxiliary {encoder.auxiliary}; set architecture.encoder.dropout and .auxiliary to 0"
            )
        return encoder

    def check(self, signature: Signature) -> None:
        """Check that there is a picture, and that the encoder takes it.

        Raises:
            ValueError: there is none, or its channels differ.
        """
        if "image" not in signature.inputs:
            raise ValueError("a captioner reads the input `image`, which the data do not have; change data.name")
        self.encoder.check(signature)

    def without_weights(self) -> Self:
        """The same model, its encoder not starting from trained weights."""
        return self.model_copy(update={"encoder": self.encoder.without_weights()})
