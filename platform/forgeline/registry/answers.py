"""What models answered to the same samples, and what each answer was worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forgeline import metrics
from forgeline.errors import SpecError
from forgeline.preprocessing.target import label_texts
from forgeline.registry.resampled_metrics import classification_measure

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.preprocessing import Preprocessing

Arrays = Mapping[str, NDArray[Any]]

TASKS = ("classification", "regression")
"""Tasks whose samples are drawn apart from one another, as the bounds take them to be."""

_SMALLEST = 2.0**-149  # as in `metrics.classification`: a float32 softmax can round to 0


class GateData(Protocol):
    """Samples that a gate is measured on, as any model takes them."""

    @property
    def name(self) -> str:
        """Of the data."""

    @property
    def fingerprint(self) -> str:
        """sha256 over the content."""

    def batches(self, bundle: Bundle, split: str) -> Iterator[tuple[Arrays, NDArray[Any]]]:
        """A split's samples in order, encoded as the bundle's model takes them, with their targets as it gives them.

        Raises:
            DataError: the model does not take such data, or there is no such split.
        """

    def columns(self, split: str) -> Mapping[str, NDArray[Any]]:
        """What the split's samples hold, in their order, as people know it: the columns of a table; else nothing."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A model's answers to samples, and the truth, both as the model gives them.

    Attributes:
        outputs: probabilities [n, classes], or standardised numbers [n, targets].
        targets: class numbers [n], or standardised numbers [n, targets].
    """

    task: str
    preprocessing: Preprocessing
    outputs: NDArray[Any]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def classes(self) -> NDArray[Any] | None:
        """[n] names of the true classes; None where there are none."""
        names = self.preprocessing.classes
        return None if names is None else np.asarray(names, dtype=object)[self.targets]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """[n] whether the likeliest class is the true one."""
        return np.asarray(self.outputs.argmax(axis=1) == self.targets)

    def losses(self, name: str) -> NDArray[np.float64] | None:
        """[n] what each sample adds to the mean that a metric is; None for metrics that are no mean of samples."""
        if self.task == "classification" and name in ("loss", "log_loss"):
            truth = self.outputs[np.arange(len(self)), self.targets].astype(np.float64)
            return np.asarray(-np.log(np.clip(truth, _SMALLEST, 1.0)))
        if self.task == "regression" and name in ("mse", "mae"):
            apart = self.preprocessing.unscale(self.outputs) - self.preprocessing.unscale(self.targets)
            each = apart**2 if name == "mse" else np.abs(apart)
            return np.asarray(each.reshape(len(self), -1).mean(axis=1), dtype=np.float64)
        return None

    def measure(self, name: str, rows: NDArray[Any] | None = None) -> float:
        """A metric of all samples, or of those with these numbers; NaN where these have none."""
        chosen = slice(None) if rows is None else rows
        losses = self.losses("log_loss") if self.task == "classification" else None
        found = metrics.from_outputs(
            self.task,
            self.outputs[chosen],
            self.targets[chosen],
            self.preprocessing,
            loss=None if losses is None else float(losses[chosen].mean()),
        )
        return found.get(name, float("nan"))

    def measure_of(self, name: str) -> Callable[[NDArray[Any]], float]:
        """`measure` of one metric, for asking many times."""
        quick = None
        if self.task == "classification":
            quick = classification_measure(name, self.outputs, self.targets, self.preprocessing.classes or ())
        return quick or (lambda rows: self.measure(name, rows))

    def part(self, mask: NDArray[np.bool_]) -> Answers:
        """Those of some samples."""
        return Answers(
            task=self.task,
            preprocessing=self.preprocessing,
            outputs=self.outputs[mask],
            targets=self.targets[mask],
        )

    def of_class(self, label: str) -> NDArray[np.bool_]:
        """[n] which samples are truly of a class."""
        classes = self.classes
        return np.zeros(len(self), dtype=bool) if classes is None else np.asarray(label_texts(classes)) == label


def check_task(task: str, *, key: str) -> None:
    """Raises SpecError where samples of a task are not drawn apart, or have no answer that could be compared."""
    if task not in TASKS:
        raise SpecError(
            f"the task is {task}; what is measured on samples is for {' and '.join(TASKS)}, whose samples are drawn "
            "apart from one another: give at_least, at_most or beats without confidence",
            key=key,
        )


def check_metric(task: str, metric: str, *, key: str) -> None:
    """Raises SpecError where models cannot be compared by a metric, sample for sample."""
    if task == "regression" and metric.partition("/")[2] == "loss":
        raise SpecError(
            f"got {metric}, which is in units of each model's own standardisation; take mse, mae or rmse", key=key
        )


def answers_of(bundle: Bundle, data: GateData, split: str, *, batch_size: int, device: str = "auto") -> Answers:
    """A bundle's answers to a split.

    Raises:
        DataError: the model does not take such data, or there are no samples.
        SpecError: the bounds do not hold for such samples.
    """
    check_task(bundle.task, key="gate")
    outputs, targets = [], []
    for inputs, truth in data.batches(bundle, split):
        outputs.append(bundle.outputs(inputs, batch_size=batch_size, device=device))
        targets.append(truth)
    if not outputs:
        raise SpecError(f"the split {split} of {data.name} has no samples", key="gate")
    return Answers(
        task=bundle.task,
        preprocessing=bundle.preprocessing,
        outputs=np.concatenate(outputs),
        targets=np.concatenate(targets),
    )
