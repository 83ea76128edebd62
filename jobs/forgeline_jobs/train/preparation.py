"""The data that a spec names, read, split and fitted: for the check before Ray starts, and in each worker again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from forgeline import plugins

if TYPE_CHECKING:
    from forgeline_jobs.data.base import DataConfig, PreparedData
    from forgeline_jobs.data.descriptor import DataSource


def prepare(config: DataConfig, *, verify: bool = True) -> PreparedData:
    """Prepare the data of a spec's `data` block.

    Args:
        config: the block.
        verify: go through every sample; False where the check before the run has done it.

    Raises:
        DataError: the data are not what the spec promises.
    """
    source = cast("DataSource", plugins.find(plugins.DATA, config.name, key="data.name"))
    return source.prepare(config, verify=verify)


def described(data: PreparedData) -> dict[str, Any]:
    """What was found in the data, the task first, and columns by their kind."""
    found = {"task": data.signature.task, **data.summary}
    columns = found.get("columns")
    if isinstance(columns, dict):
        found["columns"] = {kind: [name for name in columns if columns[name] == kind] for kind in columns.values()}
    return found
