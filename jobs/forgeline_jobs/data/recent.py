"""`data.recent`: labelled samples of a deployment, trained on and held out beside the original data.

The original data keep their split; each recent sample has its side by its request (`preprocessing.recent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing.reading import column
from forgeline.preprocessing.recent import read_images, read_rows, sides
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.data.splits import SplitIndices

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.recent.path"


class RecentConfig(BaseModel):
    """Labelled samples that a deployment has collected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="Parquet file of rows, or .npz of images, as a deployment writes it.")
    val: float = Field(default=0.2, gt=0, lt=1, description="Share held out to choose the checkpoint and to be gated.")
    test: float = Field(default=0.2, gt=0, lt=1, description="Share held out for the final result.")
    held_out: Literal["both", "recent"] = Field(
        default="both", description="What val and test are: of the original data and these, or of these alone."
    )

    @field_validator("path")
    @classmethod
    def _path_from_anywhere(cls, path: str) -> str:
        """Made absolute: workers run in folders of their own."""
        return str(Path(path).expanduser().absolute())

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val} and test {self.test} leave nothing to train on; their sum must be below 1"
            )
        return self


@dataclass(frozen=True)
class Sides:
    """Where recent samples belong.

    Attributes:
        behind: how many original samples they stand behind.
        names: `train`, `val` or `test` of each.
        held_out: what val and test are made of.
    """

    behind: int
    names: NDArray[np.str_]
    held_out: Literal["both", "recent"]

    def joined(self, original: SplitIndices) -> SplitIndices:
        """The split of all samples.

        Raises:
            DataError: val or test would be empty.
        """
        train, val, test = (self.behind + np.flatnonzero(self.names == name) for name in ("train", "val", "test"))
        if not len(val) or not len(test):
            raise DataError(
                f"{len(self.names)} samples leave {'test' if len(val) else 'val'} without any; bring more", key=KEY
            )
        if self.held_out == "both":
            val, test = np.concatenate([original.val, val]), np.concatenate([original.test, test])
        train = np.concatenate([original.train, train])
        return SplitIndices(train=as_int64(train), val=as_int64(val), test=as_int64(test))


def with_recent_rows(
    frame: pd.DataFrame, config: RecentConfig | None, names: list[str]
) -> tuple[pd.DataFrame, Sides | None]:
    """The table with the recent rows behind it, and where these belong; as it is where there are none.

    Args:
        frame: the original rows.
        names: columns that are used, features and targets.

    Raises:
        DataError: the file lacks a column, or has texts where there were numbers.
    """
    import pandas as pd
    from pandas.api import types

    if config is None:
        return frame, None
    recent, requests = read_rows(config.path, key=KEY)
    for name in names:
        values = column(recent, name, key=KEY)
        numeric = types.is_numeric_dtype(frame[name]) and not types.is_bool_dtype(frame[name])
        if numeric and not types.is_numeric_dtype(values):
            known = pd.to_numeric(values, errors="coerce")
            if (wrong := known.isna() & values.notna()).any():
                raise DataError(
                    f"`{name}` holds {str(values[wrong].iloc[0])[:40]!r} and was a column of numbers in the original "
                    "data; allowed: numbers",
                    key=KEY,
                )
            recent[name] = known
        elif not numeric and types.is_numeric_dtype(values):
            recent[name] = values.astype(object)
    both = pd.concat([frame[names], recent[names]], ignore_index=True)
    return both, Sides(len(frame), sides(requests, val=config.val, test=config.test), config.held_out)


def with_recent_images(pixels_NHWC: NDArray[Any], config: RecentConfig) -> tuple[NDArray[Any], list[str], Sides]:
    """The images with the recent ones behind them, the classes of these as text, and where these belong.

    Raises:
        DataError: the file holds something else, or images of another size or type.
    """
    images, labels, requests = read_images(config.path, key=KEY)
    if images.shape[1:] != pixels_NHWC.shape[1:] or images.dtype != pixels_NHWC.dtype:
        raise DataError(
            f"`{config.path}` has images {list(images.shape[1:])} of {images.dtype}; the original ones are "
            f"{list(pixels_NHWC.shape[1:])} of {pixels_NHWC.dtype}, and allowed are such",
            key=KEY,
        )
    both = np.concatenate([pixels_NHWC, images])
    return both, labels, Sides(len(pixels_NHWC), sides(requests, val=config.val, test=config.test), config.held_out)
