"""Lightning modules, one per task, over any family's model.

`task_module` imports the one that is asked for; importing this package itself costs no torch and no Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import nn

    from forgeline_architectures.optimisation.options import TrainingOptions
    from forgeline_architectures.signature import Signature, Task
    from forgeline_architectures.tasks.base import TaskModule, deployed_weights

# Generation has no entry: how a generator learns is its family's own, which gives a `GenerationModule` of its own.
_CLASSES: dict[Task, str] = {
    "classification": "ClassificationModule",
    "forecasting": "ForecastingModule",
    "language_modelling": "LanguageModellingModule",
    "masked_language_modelling": "MaskedLanguageModellingModule",
    "reconstruction": "ReconstructionModule",
    "regression": "RegressionModule",
    "retrieval": "RetrievalModule",
    "token_classification": "TokenClassificationModule",
    "translation": "TranslationModule",
}

__all__ = ["TaskModule", "deployed_weights", "task_module"]


def task_module(model: nn.Module, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The Lightning module of the signature's task over a model.

    Raises:
        ValueError: the options do not fit model or task.
    """
    module = import_module(f"{__name__}.{signature.task}")
    return cast("TaskModule", getattr(module, _CLASSES[signature.task])(model, signature, options))


def __getattr__(name: str) -> Any:
    if name in ("TaskModule", "deployed_weights"):
        return getattr(import_module(f"{__name__}.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
