"""One way in for all tasks: outputs and targets to flat, named numbers that MLflow, gates and reports share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import ForgelineError
from forgeline.metrics import classification, forecasting, language_modelling, regression, retrieval, translation

if TYPE_CHECKING:
    from forgeline.preprocessing import Preprocessing


def compute(
    task: str,
    outputs: NDArray[Any] | None,
    targets: NDArray[Any] | None,
    *,
    classes: Sequence[str] | None = None,
    naive_mae: float | Sequence[float] | None = None,
    loss: float | None = None,
    tokens_per_character: float | None = None,
) -> dict[str, float]:
    """The task's metrics by name, all finite.

    Args:
        task: classification, regression, forecasting, language_modelling, translation or retrieval.
        outputs: probabilities [n, classes], or predictions [n, targets] / [n, horizon, targets] in original units,
            or written tokens [n, length], or embeddings [n, 2, width]; nothing for language models.
        targets: class numbers [n], meanings [n] for retrieval, or numbers of the shape of `outputs`.
        classes: names of the classes, for the per-class values.
        naive_mae: in-sample error of the naive forecast on train, for `mase`.
        loss: mean training loss over the same samples; comes back as `loss`.
        tokens_per_character: for `bits_per_character`.

    Raises:
        ForgelineError: shapes disagree, there is no sample, or an output is not finite.
    """
    known = {} if loss is None else {"loss": float(loss)}
    if task in {"language_modelling", "masked_language_modelling"}:
        if loss is None:
            raise ForgelineError(f"{task} is measured by its loss alone; got none")
        return language_modelling.language_metrics(float(loss), tokens_per_character=tokens_per_character)
    if outputs is None or targets is None:
        raise ForgelineError(f"{task} is measured by outputs and targets; got none")
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    _check(task, outputs, targets)
    if task == "classification":
        return known | classification.classification_metrics(outputs, targets, classes)
    if task == "retrieval":
        return retrieval.retrieval_metrics(outputs, targets)  # with the loss, which a batch alone cannot tell
    if task == "translation":
        return known | translation.translation_metrics(outputs, targets)
    if task == "forecasting":
        return known | forecasting.forecasting_metrics(outputs, targets, naive_mae)
    return known | regression.regression_metrics(outputs, targets)


def from_outputs(
    task: str,
    outputs: NDArray[Any],
    targets: NDArray[Any],
    preprocessing: Preprocessing,
    *,
    loss: float | None = None,
) -> dict[str, float]:
    """`compute` for a model's own outputs and targets, brought back to original units by its preprocessing."""
    if task == "classification":
        return compute(task, outputs, targets, classes=preprocessing.classes, loss=loss)
    return compute(
        task,
        preprocessing.unscale(outputs),
        preprocessing.unscale(targets),
        naive_mae=getattr(preprocessing, "naive_mae", None),
        loss=loss,
    )


def from_loss(task: str, loss: float, *, tokens_per_character: float | None = None) -> dict[str, float]:
    """`compute` for language models, whose outputs are not kept."""
    return compute(task, None, None, loss=loss, tokens_per_character=tokens_per_character)


def _check(task: str, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
    expected = outputs.shape[:1] if task in ("classification", "retrieval") else outputs.shape
    if targets.shape != expected:
        raise ForgelineError(f"outputs of shape {outputs.shape} need targets of shape {expected}, got {targets.shape}")
    if not len(outputs):
        raise ForgelineError("metrics need at least one sample, got none")
    finite = np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
    if not finite.all():
        raise ForgelineError(
            f"the model's outputs are not finite for {int((~finite).sum())} of {len(finite)} samples, "
            f"first for sample {int(np.argmin(finite))}"
        )
    if task == "classification" and not 0 <= int(targets.min()) <= int(targets.max()) < outputs.shape[1]:
        raise ForgelineError(
            f"class numbers must be from 0 to {outputs.shape[1] - 1}, got {int(targets.min())} to {int(targets.max())}"
        )
