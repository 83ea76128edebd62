"""The spec of `kind: evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from forgeline.spec.parts import plugin_part
from forgeline_jobs.remote import TaskSpec


class EvaluateSpec(TaskSpec):
    """Measure a model on a split that it was not trained on."""

    kind: Literal["evaluate"] = Field(description="The kind of job.")
    model: str = Field(description="`models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or a bundle's folder.")
    data: plugin_part("forgeline.data") | None = Field(  # type: ignore[valid-type]
        default=None, description="The data; those that the model was trained on when left out."
    )
    split: Literal["val", "test"] = Field(default="test", description="Which split is read.")
    batch_size: int = Field(default=256, ge=1, description="Samples that go through the model together.")
    options: dict[str, Any] = Field(
        default={}, description="Options of a generator's family by which its samples are drawn, such as `steps: 20`."
    )
    untrained: bool = Field(
        default=False, description="Whether a generator's Fréchet distance with fresh weights is measured as well."
    )
    inception: str | None = Field(
        default=None,
        description="File of Inception's weights, by which a generator's pictures are measured as papers do.",
    )

    @field_validator("inception")
    @classmethod
    def _file_from_anywhere(cls, value: str | None) -> str | None:
        """A path made absolute: what measures runs in a folder of its own."""
        # Unlike Path.expanduser, this leaves the name of an unknown user alone.
        return value and str(Path(os.path.expanduser(value)).absolute())  # noqa: PTH111
