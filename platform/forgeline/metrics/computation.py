"""One way in for all tasks: outputs and targets to flat, named numbers that MLflow, gates and reports share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import ForgelineError
from forgeline.metrics import (
    classification,
    forecasting,
    language_modelling,
    reconstruction,
    regression,
    retrieval,
    translation,
)
from forgeline.metrics.catalogue import LOSS_ONLY

if TYPE_CHECKING:
    from forgeline.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    """What a task's metrics may need besides outputs and targets."""

    classes: Sequence[str] | None
    naive_mae: float | Sequence[float] | None


_Measure = Callable[[NDArray[Any], NDArray[Any], _Context], dict[str, float]]
# How a task's outputs are measured; those of `LOSS_ONLY` keep none.
_MEASURES: Mapping[str, _Measure] = {
    "classification": lambda out, targets, known: classification.classification_metrics(out, targets, known.classes),
    "regression": lambda out, targets, known: regression.regression_metrics(out, targets),
    "forecasting": lambda out, targets, known: forecasting.forecasting_metrics(out, targets, known.naive_mae),
    "translation": lambda out, targets, known: translation.translation_metrics(out, targets),
    "reconstruction": lambda out, targets, known: reconstruction.reconstruction_metrics(out, targets),
    # With the loss, which a batch alone cannot tell.
    "retrieval": lambda out, targets, known: retrieval.retrieval_metrics(out, targets),
}


# A classified token is measured as a classified sample.
_LIKE: Mapping[str, str] = {"token_classification": "classification"}


def compute(
    task: str,
    outputs: NDArray[Any] | None,
    targets: NDArray[Any] | None,
    *,
    classes: Sequence[str] | None = None,
    naive_mae: float | Sequence[float] | None = None,
    loss: float | None = None,
    parts: Mapping[str, float] | None = None,
    tokens_per_character: float | None = None,
) -> dict[str, float]:
    """The task's metrics by name, all finite.

    Args:
        task: as in `METRICS`.
        outputs: probabilities [n, classes], or predictions [n, targets] / [n, horizon, targets] in original units,
            or written tokens [n, length], embeddings [n, 2, width], or errors [n, 2]; nothing for the tasks of
            `LOSS_ONLY`.
        targets: class numbers [n], meanings [n] for retrieval, 1 for anomalies [n] of reconstruction, or numbers of
            the shape of `outputs`.
        classes: names of the classes, for the per-class values.
        naive_mae: in-sample error of the naive forecast on train, for `mase`.
        loss: mean training loss over the same samples; comes back as `loss`.
        parts: further means over the same samples that the model gave by itself; come back under their names.
        tokens_per_character: for `bits_per_character`.

    Raises:
        ForgelineError: shapes disagree, there is no sample, or an output is not finite.
    """
    task = _LIKE.get(task, task)
    known = ({} if loss is None else {"loss": float(loss)}) | dict(parts or {})
    if task in LOSS_ONLY:
        if loss is None:
            raise ForgelineError(f"{task} is measured by its loss alone; got none")
        if task != "generation":
            return known | language_modelling.language_metrics(float(loss), tokens_per_character=tokens_per_character)
        return known
    if outputs is None or targets is None:
        raise ForgelineError(f"{task} is measured by outputs and targets; got none")
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    _check(task, outputs, targets)
    return known | _MEASURES[task](outputs, targets, _Context(classes=classes, naive_mae=naive_mae))


def from_outputs(
    task: str,
    outputs: NDArray[Any],
    targets: NDArray[Any],
    preprocessing: Preprocessing,
    *,
    loss: float | None = None,
    parts: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """`compute` for a model's own outputs and targets, brought back to original units by its preprocessing."""
    if _LIKE.get(task, task) == "classification":
        return compute(task, outputs, targets, classes=preprocessing.classes, loss=loss, parts=parts)
    return compute(
        task,
        preprocessing.unscale(outputs),
        preprocessing.unscale(targets),
        naive_mae=getattr(preprocessing, "naive_mae", None),
        loss=loss,
        parts=parts,
    )


def from_loss(
    task: str, loss: float, *, parts: Mapping[str, float] | None = None, tokens_per_character: float | None = None
) -> dict[str, float]:
    """`compute` for the tasks of `LOSS_ONLY`."""
    return compute(task, None, None, loss=loss, parts=parts, tokens_per_character=tokens_per_character)


def _check(task: str, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
    one_each = task in ("classification", "retrieval", "reconstruction")
    expected = outputs.shape[:1] if one_each else outputs.shape
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
