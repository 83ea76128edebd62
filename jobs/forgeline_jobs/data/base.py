"""The contract between data and training: a config, and what it is prepared into.

Nothing here imports torch or pandas: data are checked in the command's own process before Ray starts, and a spec is
validated in less time still. A split hands out whole batches, already vectorised, rather than samples to collate.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forgeline.preprocessing import Preprocessing
from forgeline_architectures.signature import Signature

Batch = dict[str, NDArray[Any]]
Indices = NDArray[np.int64]
# (seed, epoch): with the sample's index, all that a sample's augmentation depends on.
Keys = tuple[int, int]
SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
ClassWeights = Literal["balanced"] | None


class DataConfig(BaseModel):
    """What every data source takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the data source.")
    batch_size: int = Field(
        default=32, ge=1, description="Samples that go through the model together, over all workers."
    )
    loader_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Processes per worker that load batches ahead; 0 loads in the worker itself.",
    )
    train_on: Literal["train", "train+val"] = Field(
        default="train", description="Splits that are trained on; `train+val` once everything else is chosen."
    )

    @field_validator("path", check_fields=False)
    @classmethod
    def _path_from_anywhere(cls, path: Any) -> Any:
        """A source's `path` made absolute: workers run in folders of their own."""
        if not isinstance(path, str | Path) or not str(path).strip() or "://" in str(path):
            return path
        # Unlike Path.expanduser, this leaves the name of an unknown user alone.
        whole = Path(os.path.expanduser(path)).absolute()  # noqa: PTH111
        return str(whole) if isinstance(path, str) else whole


class ShareConfig(BaseModel):
    """Shares of the data that are held out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(default=0.1, gt=0, lt=1, description="Share held out to choose the checkpoint.")
    test: float = Field(default=0.2, gt=0, lt=1, description="Share held out for the final result.")

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val} and test {self.test} leave nothing to train on; their sum must be below 1"
            )
        return self


class SplitConfig(ShareConfig):
    """Shares, drawn at random by a seed."""

    seed: int = Field(default=0, ge=0, description="Seed of the draw; the same seed gives the same split everywhere.")


class Split(Protocol):
    """One of train, val and test."""

    def __len__(self) -> int:
        """Number of samples."""

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The samples at `indices`, one array per input and one for the target.

        Args:
            indices: [n] positions in this split.
            rng_keys: (seed, epoch) to augment by, each sample's change a pure function of it and of the sample's
                index; None leaves the samples as they are.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData:
    """Data, read, checked, split, and encoded by what was fitted on the train split.

    Attributes:
        tokens_per_character: of each split's text, with the tokens that close documents; nothing for other data.
    """

    signature: Signature
    preprocessing: Preprocessing
    splits: Mapping[str, Split]
    fingerprint: str
    summary: dict[str, Any]
    input_example: Any
    class_weights: tuple[float, ...] | None = None
    tokens_per_character: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())


def as_int64(values: Any) -> Indices:
    """Positions as the dtype that every split takes."""
    return np.asarray(values, dtype=np.int64)
