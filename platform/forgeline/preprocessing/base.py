"""What all fitted preprocessings share: the way in (`encode`), the way back (`decode`, `unscale`), and a file reader.

A preprocessing is fitted on the train split only, is JSON as a whole, and is stored in the bundle: what a model saw
in training and what it sees when it predicts come from the same code and the same numbers. It never imports torch,
and pandas only where a table is really touched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from forgeline.errors import DataError
from forgeline.preprocessing.target import ClassTarget, Floats, ScaledTarget, Target

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, NDArray[Any]]


class FittedPreprocessing(BaseModel, ABC):
    """State learned from the train split, with the two ways through it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target | None = None

    @abstractmethod
    def encode(self, raw: Any) -> Arrays:
        """Raw rows, images, texts or series -> the model's input arrays, one entry per sample."""

    @abstractmethod
    def read(self, path: str | Path) -> Any:
        """A file or a folder of this modality -> what `encode` takes.

        Raises:
            DataError: the file is missing, empty or cannot be read.
        """

    @abstractmethod
    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """Columns or shapes, in and out, as JSON for people and for MLflow."""

    def row_labels(self, raw: Any) -> pd.DataFrame:
        """Columns that tell the predictions of `raw` apart (a path, a time); none where the order says it all."""
        import pandas as pd

        return pd.DataFrame()

    def decode(self, outputs: Floats) -> pd.DataFrame:
        """A model's outputs (probabilities or standardised numbers) -> a table with `prediction` and the rest."""
        if self.target is None:
            raise NotImplementedError(f"{type(self).__name__} has no target to decode")
        return self.target.decode(np.asarray(outputs))

    def decode_samples(self, samples: Floats) -> NDArray[Any]:
        """What a generator made [n, ...], in the range of its training, in original units.

        Raises:
            NotImplementedError: nothing of this modality is generated.
        """
        raise NotImplementedError(f"{type(self).__name__} has no samples to decode")

    def encode_condition(self, name: str, values: Sequence[Any]) -> NDArray[Any]:
        """What samples are asked for, a row for each: the numbers of labels.

        Raises:
            DataError: the model has no such condition, or a value is none that it was trained with.
        """
        if name != "label" or not isinstance(self.target, ClassTarget):
            raise DataError(f"the data have no condition {name!r}")
        return self.target.encode(values)

    def unscale(self, outputs: Floats) -> NDArray[Any]:
        """Standardised numbers -> original units; probabilities stay as they are."""
        return self.target.unscale(outputs) if isinstance(self.target, ScaledTarget) else np.asarray(outputs)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, in the order of the model's outputs."""
        return self.target.classes if isinstance(self.target, ClassTarget) else None

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of what is predicted."""
        if self.target is None:
            return ()
        return (self.target.name,) if isinstance(self.target, ClassTarget) else self.target.names

    @property
    def target_mean(self) -> tuple[float, ...] | None:
        """Train mean per target, in original units."""
        return self.target.mean if isinstance(self.target, ScaledTarget) else None

    @property
    def target_std(self) -> tuple[float, ...] | None:
        """Train standard deviation per target, in original units."""
        return self.target.std if isinstance(self.target, ScaledTarget) else None
