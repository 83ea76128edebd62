"""Config of CLIP; the defaults are the published ViT-B/32."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file


class ClipConfig(ArchitectureConfig):
    """Size of the two towers and of the space that they share."""

    name: Literal["clip"] = Field(default="clip", description="The model's name.")
    vision_layers: PositiveInt = Field(default=12, description="Blocks of the tower that sees.")
    vision_heads: PositiveInt = Field(default=12, description="Its attention heads; must divide `vision_width`.")
    vision_width: PositiveInt = Field(default=768, description="Numbers that represent a patch inside it.")
    patch: PositiveInt = Field(default=32, description="Side of a patch in pixels; must divide the picture's sides.")
    image_size: PositiveInt | None = Field(
        default=None,
        description="Side in pixels that pictures are resized to inside the model, bilinearly; not given: as they are.",
    )
    text_layers: PositiveInt = Field(default=12, description="Blocks of the tower that reads.")
    text_heads: PositiveInt = Field(default=8, description="Its attention heads; must divide `text_width`.")
    text_width: PositiveInt = Field(default=512, description="Numbers that represent a word inside it.")
    projection: PositiveInt = Field(default=512, description="Numbers of an embedding, of pictures and of texts.")
    activation: Literal["quick_gelu", "gelu"] = Field(
        default="quick_gelu", description="Non-linearity of the feed-forward layers; later checkpoints have gelu."
    )
    temperature: PositiveFloat = Field(
        default=0.07, description="What similarities are divided by at first; it is learnt, down to 0.01."
    )
    pretrained: str | None = Field(
        default=None,
        description="CLIP weights in transformers' naming to start from: a checkpoint folder, `hub:ORG/MODEL`, or a "
        ".safetensors file.",
    )

    @field_validator("pretrained")
    @classmethod
    def _file_is_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return weight_file(value, info, folders=True)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for tower, heads, width in (
            ("vision", self.vision_heads, self.vision_width),
            ("text", self.text_heads, self.text_width),
        ):
            if width % heads:
                raise ValueError(
                    f"{tower}_heads {heads} does not divide {tower}_width {width}; change architecture.{tower}_heads"
                )
        return self

    def size(self, signature: Signature) -> tuple[int, int]:
        """Height and width of the pictures that the tower sees."""
        _, height, width = signature.inputs["image"].shape
        return (height, width) if self.image_size is None else (self.image_size, self.image_size)

    def check(self, signature: Signature) -> None:
        """Check that there are pictures that patches fill, and captions.

        Raises:
            ValueError: the message names the key to change.
        """
        missing = sorted({"image", "caption"} - set(signature.inputs))
        if missing:
            raise ValueError(f"clip reads pictures and captions, the data have no {missing[0]}; change data.name")
        height, width = self.size(signature)
        if height % self.patch or width % self.patch:
            raise ValueError(
                f"patches of {self.patch} pixels do not fill pictures of {height}x{width}; change architecture.patch "
                "or architecture.image_size"
            )
