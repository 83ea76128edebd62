"""What a data plug-in says about itself; its config and its code are imported when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, cast

from forgeline.plugins import load_object

if TYPE_CHECKING:
    from pydantic import BaseModel

    from forgeline.registry.answers import GateData
    from forgeline_jobs.data.base import PreparedData

Modality = Literal["table", "image", "text", "series", "graph", "pairs", "captions"]


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A data set, or a way to read the user's own.

    Args:
        name: what a spec calls it.
        help: one sentence on what is in it.
        modality: kind of a sample.
        tasks: what it can be used for.
        config: `package.module:Class` of its settings, a `DataConfig`.
        prepare_path: `package.module:function` from the settings to `PreparedData`. It may take `verify`, a bool:
            False says that another process has already been through every sample.
    """

    name: str
    help: str
    modality: Modality
    tasks: tuple[str, ...]
    config: str
    prepare_path: str

    def config_model(self) -> type[BaseModel]:
        """The class of the settings."""
        return cast("type[BaseModel]", load_object(self.config))

    def prepare(self, config: Any, *, verify: bool = True) -> PreparedData:
        """Read, check, split and encode the data.

        Raises:
            DataError: the data are not what the settings promise.
        """
        function = cast("Callable[..., PreparedData]", load_object(self.prepare_path))
        optional = {"verify": verify} if "verify" in signature(function).parameters else {}
        return function(config, **optional)

    def gate_data(self, settings: Mapping[str, Any]) -> GateData:
        """The samples of the data that some settings mean, as a gate asks for them.

        Raises:
            DataError: the data are not what the settings promise.
        """
        from forgeline_jobs.evaluate.gate_data import PreparedGateData

        config: Any = self.config_model().model_validate(settings)
        return PreparedGateData(self.name, self.prepare(config, verify=False), batch_size=config.batch_size)
