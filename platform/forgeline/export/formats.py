"""The forms that a model is exported to, the file that each is kept in, and what is wanted of an export."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from forgeline.errors import UsageError


class ExportFormat(StrEnum):
    """A form that a trained model is exported to."""

    SAFETENSORS = "safetensors"
    PT2 = "pt2"
    ONNX = "onnx"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_STATIC = "int8-static"


FILES = MappingProxyType(
    {
        ExportFormat.PT2: "model.pt2",
        ExportFormat.ONNX: "model.onnx",
        ExportFormat.INT8_DYNAMIC: "model-int8-dynamic.onnx",
        ExportFormat.INT8_STATIC: "model-int8-static.onnx",
    }
)
"""File of each form within the folder of an export; a safetensors bundle is a folder of its own."""

BUNDLE = "bundle"
"""Folder of the safetensors bundle within the folder of an export."""

ONNX_FORMATS = frozenset({ExportFormat.ONNX, ExportFormat.INT8_DYNAMIC, ExportFormat.INT8_STATIC})


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """What is taken out of a model before it is exported.

    Attributes:
        share: of the weights of each layer, or of its channels; between 0 and 1.
        channels: whether whole channels are taken out, so that the tensors become smaller; else single weights are
            made zero, which leaves sizes and speed as they are but packs better.
    """

    share: float
    channels: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"a share of {self.share:g} cannot be pruned; allowed: between 0 and 1, such as 0.5")
