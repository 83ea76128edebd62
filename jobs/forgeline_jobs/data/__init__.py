"""Data plug-ins: a module per modality, all answering with `PreparedData`; only `loader` imports torch.

>>> from forgeline_jobs.data import DataConfig, DataSource, PreparedData
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgeline_jobs.data.arrays import ArraySplit as ArraySplit
    from forgeline_jobs.data.base import DataConfig as DataConfig
    from forgeline_jobs.data.base import PreparedData as PreparedData
    from forgeline_jobs.data.base import Split as Split
    from forgeline_jobs.data.base import SplitConfig as SplitConfig
    from forgeline_jobs.data.descriptor import DataSource as DataSource

# Imported at first use: listing the sources must not pay for numpy and what reads them.
_HOMES = {
    "ArraySplit": "forgeline_jobs.data.arrays",
    "DataConfig": "forgeline_jobs.data.base",
    "DataSource": "forgeline_jobs.data.descriptor",
    "PreparedData": "forgeline_jobs.data.base",
    "Split": "forgeline_jobs.data.base",
    "SplitConfig": "forgeline_jobs.data.base",
}

__all__ = ["ArraySplit", "DataConfig", "DataSource", "PreparedData", "Split", "SplitConfig"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
