"""Whether a gate can be judged by what a training has: metrics, classes, columns and samples; before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgeline import metrics
from forgeline.errors import SpecError
from forgeline.registry import answers
from forgeline.registry.conditions import Bounded, Calibrated, Exported, conditions_of
from forgeline.registry.export_bound import check_export
from forgeline.registry.gates import Gate
from forgeline.registry.slices import check_column
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    from forgeline.registry.conditions import AnyGate
    from forgeline_jobs.data.base import PreparedData

KEY = "register.gate"


def figures_of(gate: AnyGate | None) -> list[tuple[str, str]]:
    """Key and name of each metric that a gate takes from training as it is."""
    found = conditions_of(gate)
    return [(_key(gate, place, "metric"), one.metric) for place, one in enumerate(found) if isinstance(one, Gate)]


def check_gate(gate: AnyGate | None, data: PreparedData) -> None:
    """Hold the conditions that are measured on samples against the data.

    Raises:
        SpecError: what is wrong and which key to change.
    """
    task = data.signature.task
    for place, condition in enumerate(conditions_of(gate)):
        if isinstance(condition, Bounded):
            key = _key(gate, place, "metric")
            answers.check_task(task, key=key)
            metrics.metric_info(task, condition.metric, key=key)
            answers.check_metric(task, condition.metric, key=key)
            check_class(condition.metric, data, key=key)
            _check_slices(condition, data, key=_key(gate, place, "slices"))
        elif isinstance(condition, Calibrated) and task != "classification":
            key = _key(gate, place, "calibration")
            raise SpecError(f"calibration is of classifiers; the task is {task}: leave it out", key=key)
        elif isinstance(condition, Exported):
            check_export(condition.export, key=_key(gate, place, "export"))


def check_class(metric: str, data: PreparedData, *, key: str) -> None:
    """That the class of a metric such as `val/recall[cat]` is one of the data's.

    Raises:
        SpecError: it is not.
    """
    _, bracket, label = metric.removesuffix("]").partition("[")
    classes = data.preprocessing.classes or ()
    if bracket and label not in classes:
        raise SpecError(f"{metric}: there is no class {label!r}; {did_you_mean(label, classes)}", key=key)


def _check_slices(condition: Bounded, data: PreparedData, *, key: str) -> None:
    preprocessing = data.preprocessing
    columns: list[str] = list(preprocessing.names) if preprocessing.kind == "table" else []
    for text in condition.slices:
        check_column(text, columns, has_classes=preprocessing.classes is not None, key=key)


def _key(gate: AnyGate | None, place: int, name: str) -> str:
    return f"{KEY}.{place}.{name}" if isinstance(gate, list) else f"{KEY}.{name}"
