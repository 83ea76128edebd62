"""The data that a spec names, read, split and fitted: for the check before Ray starts, and in each worker again."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from forgeline import plugins

if TYPE_CHECKING:
    from forgeline.plugins import DataDescriptor
    from forgeline_jobs.data.base import DataConfig, PreparedData


def prepare(config: DataConfig) -> PreparedData:
    """Prepare the data of a spec's `data` block.

    Raises:
        DataError: the data are not what the spec promises.
    """
    source = cast("DataDescriptor", plugins.find(plugins.DATA, config.name, key="data.name"))
    return cast("PreparedData", source.prepare(config))
