"""The spec of `kind: predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from forgeline_jobs.remote import TaskSpec


def _absolute(path: str) -> str:
    """Workers have another working directory than the command."""
    return str(Path(path).expanduser().absolute())


UserPath = Annotated[str, AfterValidator(_absolute)]


class PredictSpec(TaskSpec):
    """Predict everything in a file or a folder."""

    kind: Literal["predict"] = Field(description="The kind of job.")
    model: str = Field(description="`models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or a bundle's folder.")
    input: UserPath = Field(description="CSV, Parquet, image, folder of images, npz, text or JSONL.")
    output: UserPath = Field(description="Parquet file to write.", pattern=r"\.parquet$")
    keep: tuple[str, ...] = Field(default=(), description="Columns of the input table to carry over.")
    overwrite: bool = Field(default=False, description="Whether a file that is there may be replaced.")
    batch_size: int = Field(default=256, ge=1, description="Samples that go through the model together.")
