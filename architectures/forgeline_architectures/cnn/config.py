"""Config of the timm family. The names that timm knows are shipped as a text file, so that none needs torch."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import weight_file

OWN_FIELDS = frozenset({"num_classes", "in_chans", "drop_rate", "pretrained"})


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
        description="First layers of a ResNet, which shrink a picture by 4 as published (standard); by 2, with a 3x3 "
        "filter and the pooling (medium); not at all, with a 3x3 filter alone (small).",
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

    def check(self, signature: Signature) -> None:
        """Compare the picture's channels.

        Raises:
            ValueError: they differ.
        """
        shape = signature.inputs["image"].shape
        if len(shape) != 3:
            raise ValueError(f"a picture has (channels, height, width), got the shape {shape} for input `image`")
        if self.in_channels is not None and self.in_channels != shape[0]:
            raise ValueError(
                f"in_channels is {self.in_channels} and the data's pictures have {shape[0]}; "
                "change architecture.in_channels or leave it out"
            )
