"""Config of the Boltzmann machines."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from forgeline_architectures.descriptor import ArchitectureConfig

# Hinton 2002, section 6, and the network of Hinton, Osindero & Teh 2006.
HIDDEN: dict[str, tuple[int, ...]] = {"rbm": (500,), "dbn": (500, 500, 2000)}


class DBNConfig(ArchitectureConfig):
    """Layers, and how each of them is trained without labels."""

    name: Literal["rbm", "dbn"] = Field(description="One layer (`rbm`), or several that are trained in turn (`dbn`).")
    hidden: tuple[PositiveInt, ...] | None = Field(
        default=None,
        min_length=1,
        description="Hidden units of each layer; when not given, [500] for `rbm` and [500, 500, 2000] for `dbn`.",
    )
    gibbs_steps: PositiveInt = Field(
        default=1, description="Gibbs steps from the data, or from where the chains are: the k of CD-k and PCD-k."
    )
    persistent: bool = Field(
        default=False, description="Chains go on from step to step (PCD) instead of starting at the data (CD)."
    )
    chains: PositiveInt = Field(default=128, description="Chains that go on, where they are `persistent`.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Hidden units of each layer."""
        return HIDDEN[self.name] if self.hidden is None else self.hidden

    @model_validator(mode="after")
    def _one_layer_is_an_rbm(self) -> Self:
        if self.name == "rbm" and len(self.widths) > 1:
            raise ValueError(f"an rbm has one layer, got hidden {list(self.widths)}; give one number, or name it dbn")
        return self


def names() -> tuple[str, ...]:
    """One layer, or several."""
    return tuple(HIDDEN)
