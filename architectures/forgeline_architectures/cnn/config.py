"""Config of the timm family. The names that timm knows are shipped as a text file, so that none needs torch."""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file

OWN_FIELDS = frozenset({"num_classes", "in_chans", "drop_rate", "pretrained", "aux_logits"})
# Whose channels timm has no argument for. All of their channel numbers are multiples of 16.
SCALABLE = re.compile(r"vgg\d+(_bn)?|inception_v3")


@cache
def names() -> tuple[str, ...]:
    """Every model name of the timm release that this package was made with."""
    text = (files("forgeline_architectures.cnn") / "timm_models.txt").read_text(encoding="utf-8")
    return tuple(text.split())


class CNNConfig(ArchitectureConfig):
    """A timm model and what is changed about it."""

    name: str = Field(description="Name of a timm model, e.g. `resnet18`.")
    in_channels: PositiveInt | None = Field(
        default=None, description="Channels of a picture; those of the data when not given, checked against them else."
    )
    pretrained: bool | str = Field(
        default=False,
        description="Start from trained weights: true for timm's own (from the hub), or a .safetensors or .pth file.",
    )
    stem: Literal["standard", "medium", "small"] = Field(
        default="standard",
        description="First layers of a ResNet, DenseNet or Inception, which shrink a picture by 4 or more as published "
        "(standard); by 2, with 3x3 filters and one pooling (medium); not at all, with 3x3 filters alone (small).",
    )
    image_size: PositiveInt | None = Field(
        default=None,
        description="Side in pixels that pictures are resized to inside the model, bilinearly; not given: as they are.",
    )
    width: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the channels of a VGG or Inception, in sixteenths; other models have `options` for it.",
    )
    auxiliary: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the loss of inception_v3's second, earlier head while training (its authors' code has "
        "0.4); 0: no such head.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of features zeroed before the last layer.")
    channels_last: bool = Field(
        default=False, description="Keep pictures with their channels last in memory: faster on GPUs in half precision."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of timm's create_model, e.g. `{img_size: 64}`."
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in names():
            near = difflib.get_close_matches(name, names(), n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "see `forgeline architectures list`"
            raise ValueError(f"timm has no model {name!r}; {hint}")
        return name

    @field_validator("pretrained")
    @classmethod
    def _file_is_there(cls, value: bool | str, info: ValidationInfo) -> bool | str:
        return weight_file(value, info)

    @field_validator("options")
    @classmethod
    def _not_own(cls, options: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(OWN_FIELDS & set(options))
        if taken:
            raise ValueError(
                f"options holds {', '.join(taken)}, which come from the data or have their own key "
                "(in_channels, dropout, pretrained); remove them from architecture.options"
            )
        return options

    @model_validator(mode="after")
    def _fits_the_model(self) -> Self:
        if self.width != 1 and not SCALABLE.fullmatch(self.name):
            raise ValueError(
                f"width {self.width} is for timm's vgg and inception_v3 models, got name {self.name}; set "
                "architecture.width to 1, or use timm's own arguments in architecture.options"
            )
        if self.width * 16 % 1:
            raise ValueError(f"width must be a multiple of 1/16, got {self.width}; change architecture.width")
        if self.width != 1 and self.pretrained is not False:
            raise ValueError(
                f"there are no trained weights of width {self.width}; set architecture.width to 1 or "
                "architecture.pretrained to false"
            )
        if self.auxiliary and self.name != "inception_v3":
            raise ValueError(
                f"auxiliary {self.auxiliary} is for inception_v3, got name {self.name}; set architecture.auxiliary to 0"
            )
        return self

    def check(self, signature: Signature) -> None:
        """Compare the picture's channels, and the task with the auxiliary head.

        Raises:
            ValueError: the channels differ, or the task has no loss for the head.
        """
        if self.auxiliary and signature.task != "classification":
            raise ValueError(
                f"auxiliary {self.auxiliary} is for classification, the data are for {signature.task}; "
                "set architecture.auxiliary to 0"
            )
        shape = signature.inputs["image"].shape
        if len(shape) != 3:
            raise ValueError(f"a picture has (channels, height, width), got the shape {shape} for input `image`")
        if self.in_channels is not None and self.in_channels != shape[0]:
            raise ValueError(
                f"in_channels is {self.in_channels} and the data's pictures have {shape[0]}; "
                "change architecture.in_channels or leave it out"
            )
