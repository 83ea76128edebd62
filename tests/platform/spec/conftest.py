"""A toy kind and two toy plug-ins, registered in place of the installed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline import plugins
from forgeline.kinds import KindDescriptor
from forgeline.spec.envelope import Envelope
from forgeline.spec.parts import plugin_part
from forgeline.spec.units import Length, Share, ShareOrSteps


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pool(Part):
    kind: Literal["pool"] = "pool"
    window: int = Field(default=2, ge=1, description="Side of the window.")


class Attention(Part):
    kind: Literal["attention"] = "attention"
    heads: int = Field(default=4, ge=1, description="Heads.")


class NetConfig(Part):
    name: str = Field(description="The model.")
    width: int = Field(default=8, ge=1, description="Hidden width.")
    layers: tuple[float, ...] = Field(default=(), description="Dropout per layer.")
    head: Pool | Attention = Field(default_factory=Pool, discriminator="kind", description="The head.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width == 13:
            raise ValueError("got width 13; allowed: any other")
        return self


class OtherConfig(Part):
    name: Literal["other"]
    depth: int = Field(default=1, description="Depth.")


class Optimizer(Part):
    name: Literal["sgd", "adam", "adamw"] = Field(default="adamw", description="The optimiser.")
    lr: float = Field(default=1e-3, gt=0, description="Learning rate.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="Betas.")
    api_key: int = Field(default=1, description="A secret.")


class ToySpec(Envelope):
    kind: Literal["toy"] = Field(description="The kind of job.")
    net: plugin_part("forgeline.architectures") | None = Field(default=None, description="The model.")  # type: ignore[valid-type]
    optimizer: Optimizer = Field(default_factory=Optimizer, description="The optimiser.")
    every: Length | None = Field(default=None, description="How often.")
    keep: Share = Field(default=Share(0.1), description="How much.")
    warmup: ShareOrSteps = Field(default=ShareOrSteps(None), description="Rise.")
    words: dict[str, list[str]] = Field(default_factory=dict, description="Anything.")
    scale: float = Field(default=1.0, description="Any float.")
    register_: str | None = Field(default=None, alias="register", description="An alias.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer.lr > 1:
            raise ValueError(f"optimizer.lr {self.optimizer.lr} is more than 1; lower optimizer.lr")
        return self


@dataclass(frozen=True)
class Plugin:
    name: str
    model: type[BaseModel]
    names: tuple[str, ...]
    help: str = "A toy."

    def config_model(self) -> type[BaseModel]:
        return self.model

    def model_names(self) -> tuple[str, ...]:
        return self.names


@dataclass(frozen=True)
class ToyKind(KindDescriptor):
    def spec_model(self) -> type[Envelope]:
        return ToySpec


@dataclass(frozen=True)
class Entry:
    """What `plugins` uses of an importlib entry point."""

    loaded: Any
    value: str = "toy:TOY"

    def load(self) -> Any:
        return self.loaded


@pytest.fixture(autouse=True)
def toy_plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Mapping[str, Entry]]:
    groups: dict[str, dict[str, Entry]] = {
        plugins.KINDS: {"toy": Entry(ToyKind(name="toy", help="A toy job.", spec="", implementation=""))},
        plugins.ARCHITECTURES: {
            "net": Entry(Plugin("net", NetConfig, ("net18", "net50"))),
            "other": Entry(Plugin("other", OtherConfig, ("other",))),
        },
    }

    def entries(group: str) -> Mapping[str, Entry]:
        return groups.get(group, {})

    monkeypatch.setattr(plugins, "_entries", entries)
    return entries
