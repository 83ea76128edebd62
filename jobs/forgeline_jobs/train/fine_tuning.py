"""The block `fine_tune` of a spec: trained weights to start from, and what to hold still, move slowly or adapt."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from forgeline_architectures.optimisation.options import AdapterConfig


def _from_anywhere(value: str) -> str:
    """A folder's path made absolute: workers run in folders of their own."""
    if value.startswith(("models:", "runs:")):
        return value
    # Unlike Path.expanduser, this leaves the name of an unknown user alone.
    return str(Path(os.path.expanduser(value)).absolute())  # noqa: PTH111


TrainedModel = Annotated[str, AfterValidator(_from_anywhere)]


class PartConfig(BaseModel):
    """A module of a trained model that a module of the model to be trained starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: TrainedModel = Field(
        description="Trained model, of any architecture, that has the module: written as `pretrained` is."
    )
    part: str | None = Field(
        default=None, description="Name of the module there, e.g. `text_model`; the same name when not given."
    )


class FineTuneConfig(BaseModel):
    """Which trained weights to start from, and what to hold still, move slowly or adapt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pretrained: TrainedModel | None = Field(
        default=None,
        description="Trained model to start from: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or a "
        "bundle's folder.",
    )
    parts: dict[str, PartConfig] = Field(
        default_factory=dict,
        description="Name of a module, e.g. `text` -> the module of a trained model that it starts from, whatever the "
        "others start from.",
    )
    replace_head: bool = Field(
        default=False, description="Start the last layer anew even where the classes are those of `pretrained`."
    )
    freeze: tuple[str, ...] = Field(default=(), description="Patterns of parameter names to freeze, e.g. `layer1.*`.")
    learning_rates: dict[str, PositiveFloat] = Field(
        default_factory=dict, description="Pattern of parameter names -> factor on `optimizer.lr`."
    )
    adapter: AdapterConfig | None = Field(
        default=None, description="Low-rank matrices (LoRA) to train in place of the layers, which are frozen."
    )

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.adapter is not None and self.freeze:
            raise ValueError("an adapter freezes every other weight by itself; remove freeze or adapter")
        if self.replace_head and self.pretrained is None:
            raise ValueError("replace_head is about the last layer of pretrained, which is not given; remove it")
        for inner, outer in permutations(self.parts, 2):
            if inner.startswith(f"{outer}."):
                raise ValueError(f"parts: {inner} lies within {outer}, which starts from a model too; remove one")
        return self
