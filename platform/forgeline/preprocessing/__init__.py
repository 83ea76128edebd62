"""Fitted transforms from raw data to a model's inputs and back; part of every bundle, and JSON as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from forgeline.preprocessing.base import FittedPreprocessing
from forgeline.preprocessing.captions import CaptionPreprocessing
from forgeline.preprocessing.graph import GraphPreprocessing
from forgeline.preprocessing.image import ImagePreprocessing
from forgeline.preprocessing.pairs import PairPreprocessing
from forgeline.preprocessing.series import SeriesPreprocessing
from forgeline.preprocessing.tabular import TablePreprocessing
from forgeline.preprocessing.target import AnomalyTarget, ClassTarget, ScaledTarget
from forgeline.preprocessing.text import TextPreprocessing

Preprocessing = Annotated[
    TablePreprocessing
    | ImagePreprocessing
    | TextPreprocessing
    | SeriesPreprocessing
    | GraphPreprocessing
    | PairPreprocessing
    | CaptionPreprocessing,
    Field(discriminator="kind"),
]

__all__ = [
    "AnomalyTarget",
    "CaptionPreprocessing",
    "ClassTarget",
    "FittedPreprocessing",
    "GraphPreprocessing",
    "ImagePreprocessing",
    "PairPreprocessing",
    "Preprocessing",
    "ScaledTarget",
    "SeriesPreprocessing",
    "TablePreprocessing",
    "TextPreprocessing",
    "load_preprocessing",
]


def load_preprocessing(state: Mapping[str, Any] | str) -> Preprocessing:
    """The preprocessing that `model_dump(mode="json")` or `model_dump_json()` wrote."""
    adapter: TypeAdapter[Preprocessing] = TypeAdapter(Preprocessing)
    return adapter.validate_json(state) if isinstance(state, str) else adapter.validate_python(state)
