"""The plug-in of a model family: what it is, and where its config, model and Lightning module are to be found.

Nothing here imports torch. `config`, `model`, `module` and `names` are paths `package.module:attribute`, imported when
a method needs them, so that a listing of all families stays cheap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from forgeline_architectures.measurements import Measurement, of_family
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature, Task
from forgeline_architectures.weight_files import STORED

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh

    from forgeline_architectures.tasks import TaskModule

# Inputs that only qualify another one (true length of a padded series, documents of a packed row): every family may
# be given them, and one that has no use for them works on the padded or packed values.
QUALIFIERS = frozenset({"length", "segments"})


class ArchitectureConfig(BaseModel):
    """Base of every family's config: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the model, as `forgeline architectures list` shows it.")

    @property
    def fewest_samples(self) -> int:
        """Samples that a worker has to have in a step; two or more where they are normalised over one another."""
        return 1

    def check(self, signature: Signature) -> None:
        """Check what only config and data together can tell; a family overrides it.

        Raises:
            ValueError: the message names the key to change.
        """

    def check_run(self, *, total_steps: int, pretrained: bool) -> None:
        """Check what only config and run together can tell; a family that learns in stages overrides it.

        Args:
            total_steps: optimiser steps of the run.
            pretrained: whether it starts from the weights of a trained model (`fine_tune.pretrained`).

        Raises:
            ValueError: the message names the key to change.
        """

    def check_parallel(self, workers: int) -> None:
        """Check that so many workers can share each matrix; a family that has a plan for it overrides it.

        Raises:
            ValueError: the message names the key to change.
        """

    def without_weights(self) -> Self:
        """The same model, not starting from its library's weights; a family that keeps them elsewhere overrides it."""
        field = type(self).model_fields.get("pretrained")
        return self if field is None else self.model_copy(update={"pretrained": field.default})


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is told of one model beside what it is; the words mean what they do in `Architecture`."""

    paper: str
    when: str
    when_not: str
    cost: str


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A family of models.

    Attributes:
        name: entry point, and the model's name where the family has only one.
        family: short name in words.
        help: one line on what it is.
        tasks: tasks that it can learn.
        inputs: names of the inputs that it can take.
        paper: where it was published.
        when: when to use it.
        cost: what it costs in parameters, arithmetic and memory.
        config: path of the config class, importable without torch.
        model: path of `build_model(config, signature)`; it never reads pretrained weights.
        module: path of `build_module(config, signature, options)`; it does, where the config asks for it.
        names: path of a function that lists the models of a family that has many, or None.
        descriptions: path of a function from a model's name to its `Description`, of a family whose models have papers
            of their own, or None.
        own_steps: whether the module steps several optimisers of its own, as adversaries need it.
        not_compiled: why torch.compile has nothing to speed up here; empty where it does.
        not_sharded: why its weights cannot be shared out among workers; empty where they can.
        blocks: where its models keep their repeated blocks, as paths of attributes from the model on.
        parallel: path of a function that shares out a model's matrices among workers, as `decoder.parallel.share_heads`
            does; None where there is none.
        narrowing: path of a function `(model, config, share)` that removes a share of the channels of a trained model
            and returns the config and the state of the smaller one; None where there is none.
    """

    name: str
    family: str
    help: str
    tasks: tuple[Task, ...]
    inputs: tuple[str, ...]
    paper: str
    when: str
    cost: str
    config: str
    model: str
    module: str
    names: str | None = None
    descriptions: str | None = None
    own_steps: bool = False
    not_compiled: str = ""
    not_sharded: str = ""
    blocks: tuple[str, ...] = ()
    parallel: str | None = None
    narrowing: str | None = None

    def model_names(self) -> Sequence[str]:
        """Every name that the family answers to in `architecture.name`."""
        return (self.name,) if self.names is None else cast("Sequence[str]", _load(self.names)())

    def description(self, name: str) -> Description:
        """What is told of the model of this name, or of the family by its own name."""
        if self.descriptions is None or name == self.name:
            return Description(paper=self.paper, when=self.when, when_not=self.when_not, cost=self.cost)
        return cast("Description", _load(self.descriptions)(name))

    @property
    def when_not(self) -> str:
        """When another family serves better: the paragraph of the family's README, as plain text; empty without one."""
        package = self.config.partition(":")[0].rpartition(".")[0]
        readme = files(package) / "README.md"
        text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
        found = re.search(r"\*\*When not\.\*\*(.+?)(\n\n|\Z)", text, re.DOTALL)
        return "" if found is None else re.sub(r"[`*]", "", " ".join(found[1].split()))

    def measurements(self) -> Sequence[Measurement]:
        """What its models cost, as measured; a family from elsewhere has no rows here."""
        return of_family(self.name)

    def config_model(self) -> type[ArchitectureConfig]:
        """The config class; torch is not imported."""
        return cast("type[ArchitectureConfig]", _load(self.config))

    def check(self, config: Mapping[str, Any], signature: Mapping[str, Any]) -> None:
        """Check config against data without building anything; torch is not imported.

        Raises:
            ValueError: they do not fit; the message names the key to change.
        """
        self._checked(config, signature)

    def check_run(self, config: Mapping[str, Any], *, total_steps: int, pretrained: bool) -> None:
        """Check config against the run that trains it; torch is not imported.

        Args:
            config: the settings.
            total_steps: optimiser steps of the run.
            pretrained: whether it starts from the weights of a trained model.

        Raises:
            ValueError: they do not fit; the message names the key to change.
        """
        self.config_model().model_validate(dict(config)).check_run(total_steps=total_steps, pretrained=pretrained)

    def build_model(self, config: Mapping[str, Any], signature: Mapping[str, Any]) -> nn.Module:
        """The model with fresh weights.

        Raises:
            ValueError: config and data do not fit.
        """
        return cast("nn.Module", _load(self.model)(*self._checked(config, signature, STORED)))

    def build_module(
        self, config: Mapping[str, Any], signature: Mapping[str, Any], options: Mapping[str, Any]
    ) -> TaskModule:
        """The Lightning module to train, pretrained weights read where the config asks for them.

        Raises:
            ValueError: config, data and options do not fit.
        """
        checked = self._checked(config, signature)
        return cast("TaskModule", _load(self.module)(*checked, TrainingOptions.model_validate(dict(options))))

    def share_matrices(self, model: nn.Module, mesh: DeviceMesh) -> Mapping[str, Tensor]:
        """Keep this worker's part of each block's matrices.

        Args:
            model: whole; changed in place.
            mesh: the workers that share it.

        Returns:
            Name of a parameter -> order in which its rows stand now, for those that were reordered.

        Raises:
            ValueError: the family has no plan for it.
        """
        if self.parallel is None:
            raise ValueError(f"matrices of {self.name} are not shared out among workers")
        return cast("Mapping[str, Tensor]", _load(self.parallel)(model, mesh))

    def narrow(
        self, model: nn.Module, config: Mapping[str, Any], share: float
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A smaller model of the family, without a share of the channels of each hidden layer.

        Args:
            model: trained; it is not changed.
            config: that it was built with.
            share: of the channels that go, those of the smallest weights; between 0 and 1.

        Returns:
            Config and state dict of the smaller model.

        Raises:
            ValueError: the family, or a model of this config, cannot lose channels.
        """
        if self.narrowing is None:
            raise ValueError(f"nothing says how the channels of {self.name} hang together")
        settings = self.config_model().model_validate(dict(config), context=STORED)
        return cast("tuple[dict[str, Any], dict[str, Tensor]]", _load(self.narrowing)(model, settings, share))

    def _checked(
        self, config: Mapping[str, Any], signature: Mapping[str, Any], context: Mapping[str, bool] | None = None
    ) -> tuple[ArchitectureConfig, Signature]:
        settings = self.config_model().model_validate(dict(config), context=context)
        promise = Signature.model_validate(dict(signature))
        if promise.task not in self.tasks:
            raise ValueError(
                f"architecture {settings.name!r} learns {', '.join(self.tasks)}; the data are for {promise.task}: "
                "change architecture.name or data.name"
            )
        unknown = sorted(set(promise.inputs) - set(self.inputs) - QUALIFIERS)
        if unknown:
            raise ValueError(
                f"architecture {settings.name!r} takes {', '.join(self.inputs)}; the data give {', '.join(unknown)}: "
                "change architecture.name or data.name"
            )
        settings.check(promise)
        return settings, promise


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
