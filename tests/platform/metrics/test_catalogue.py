"""The table of metrics: complete, directed, and helpful about names that it does not have."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from forgeline import metrics
from forgeline.errors import SpecError

MEASURED = {
    **{
        task: metrics.compute(task, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), classes=["a", "b"], loss=0.1)
        for task in metrics.CLASSIFYING
    },
    "regression": metrics.compute("regression", np.zeros((3, 1)), np.arange(3.0)[:, None], loss=0.1),
    "forecasting": metrics.compute(
        "forecasting", np.zeros((3, 1, 1)), np.arange(3.0)[:, None, None], loss=0.1, naive_mae=1.0
    ),
    "language_modelling": metrics.compute("language_modelling", None, None, loss=0.1, tokens_per_character=1.0),
    "masked_language_modelling": metrics.compute("masked_language_modelling", None, None, loss=0.1),
    "retrieval": metrics.compute("retrieval", np.eye(2)[:, None].repeat(2, axis=1), np.array([0, 1]), loss=0.1),
    "reconstruction": metrics.compute("reconstruction", np.array([[0.1, 0.2], [0.2, 0.3]]), np.array([0, 0]), loss=0.1),
    "translation": metrics.compute("translation", np.array([[3, 2]]), np.array([[4, 2]]), loss=0.1),
    "generation": metrics.compute(
        "generation", None, None, loss=0.1, parts={"negative_elbo": 3.0, "reconstruction": 2.0, "kl": 1.0}
    ),
}


@pytest.mark.parametrize("task", list(metrics.METRICS))
def test_every_metric_of_the_table_is_computed_and_no_other(task: str) -> None:
    families = {name.partition("[")[0] for name in MEASURED[task]}
    assert families == {name for name, info in metrics.METRICS[task].items() if info.in_training}
    for name in MEASURED[task]:
        assert metrics.metric_info(task, f"val/{name}").help


def test_directions() -> None:
    lower = {name for name, info in metrics.METRICS["classification"].items() if not info.higher_is_better}
    assert lower == {"loss", "log_loss", "ece"}
    lower = {name for name, info in metrics.METRICS["forecasting"].items() if not info.higher_is_better}
    assert lower == {"loss", "mse", "rmse", "mae", "mase"}


@pytest.mark.parametrize(
    ("task", "name", "words"),
    [
        ("classification", "val/acuracy", "did you mean `val/accuracy`"),
        ("regression", "accuracy", "regression has no metric 'accuracy'"),
        ("classification", "accuracy[cat]", "no metric"),
        ("classification", "f1[cat", "no metric"),
    ],
)
def test_unknown_names(task: str, name: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        metrics.metric_info(task, name, key="register.gate.metric")
    assert caught.value.key == "register.gate.metric"


def test_importing_brings_nothing_heavy() -> None:
    heavy = ("torch", "sklearn", "pandas", "mlflow")
    code = f"import forgeline.metrics, sys; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
