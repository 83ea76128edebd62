"""The one place that imports Lightning, without the optional libraries that it would pull in through torchmetrics.

Lightning imports torchmetrics, which imports every optional library it finds (scipy.signal, transformers,
torchvision, torch-fidelity, matplotlib) for metrics that are not used here: 32 % of the import's processor time and
113 MB where it was measured. While torchmetrics is imported, these are reported to it as not installed. Its own metrics
that need none of them work as ever. Whoever needs Lightning imports it from here, before anything else does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from typing import Any

import lightning_utilities.core.imports as requirements

NOT_FOR_METRICS = frozenset({"matplotlib", "scipy", "torch_fidelity", "torchvision", "transformers"})


@contextmanager
def _lean_torchmetrics() -> Iterator[None]:
    original = vars(requirements)
    find_version, find_spec = original["_version"], original["find_spec"]

    def version(name: str) -> str:
        if name in NOT_FOR_METRICS:
            raise PackageNotFoundError(name)
        return str(find_version(name))

    def spec(name: str, *arguments: Any) -> Any:
        return None if name.split(".")[0] in NOT_FOR_METRICS else find_spec(name, *arguments)

    original.update(_version=version, find_spec=spec)
    try:
        yield
    finally:
        original.update(_version=find_version, find_spec=find_spec)


if "torchmetrics" not in sys.modules:
    with _lean_torchmetrics():
        import torchmetrics  # noqa: F401  (imported for its effect)

from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402  (only after the above)
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy  # noqa: E402

__all__ = ["Callback", "LightningModule", "SingleDeviceStrategy", "Strategy", "Trainer"]
