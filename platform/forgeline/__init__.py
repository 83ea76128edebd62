"""Forgeline: from one YAML file to a trained, tracked and registered model.

>>> import forgeline as fl
>>> run = fl.run(fl.load("digits.yaml"), set={"trainer.epochs": 3})  # doctest: +SKIP
>>> run.metrics["val/accuracy"]                                      # doctest: +SKIP
>>> run.bundle.predict(images)                                       # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgeline.api import Run as Run
    from forgeline.api import get as get
    from forgeline.api import load as load
    from forgeline.api import plan as plan
    from forgeline.api import run as run
    from forgeline.bundle import Bundle as Bundle
    from forgeline.errors import ForgelineError as ForgelineError

__version__ = "0.1.0"

# Imported at first use: `forgeline --help` must not pay for what only a training needs.
_HOMES = {
    "Bundle": "forgeline.bundle",
    "ForgelineError": "forgeline.errors",
    "Run": "forgeline.api",
    "get": "forgeline.api",
    "load": "forgeline.api",
    "plan": "forgeline.api",
    "run": "forgeline.api",
}

__all__ = ["Bundle", "ForgelineError", "Run", "get", "load", "plan", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'forgeline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
