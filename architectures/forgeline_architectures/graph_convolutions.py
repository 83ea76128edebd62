"""The one place that imports torch_geometric, without what its import drags in but graph convolutions do not need.

The package imports its language models and, with them, transformers where that is installed: half of the import's
time. While it is imported, transformers is reported as not installed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HIDDEN = "transformers"


@contextmanager
def _lean_import() -> Iterator[None]:
    hide = _HIDDEN not in sys.modules
    modules: dict[str, Any] = sys.modules
    if hide:
        modules[_HIDDEN] = None
    try:
        with warnings.catch_warnings():
            # What torch says to authors of libraries about torch.jit is nothing that a user could change.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        if hide:
            del modules[_HIDDEN]


with _lean_import():
    from torch_geometric.nn import GATConv, GCNConv, Set2Set

__all__ = ["GATConv", "GCNConv", "Set2Set"]
