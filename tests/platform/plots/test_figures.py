"""What the figures show, read back from their axes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forgeline.errors import ForgelineError
from forgeline.metrics import reliability
from forgeline.plots import (
    confusion_matrix,
    figures_for,
    forecast_against_truth,
    learning_curves,
    predicted_against_true,
    reliability_diagram,
    roc_curves,
    save,
)
from forgeline.preprocessing import ScaledTarget


def probabilities_of(targets: Any, classes: int, *, sharpness: float = 1.5) -> Any:
    """Rows that mostly, not always, favour the truth."""
    logits = np.random.default_rng(0).normal(size=(len(targets), classes))
    logits[np.arange(len(targets)), targets] += sharpness
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_learning_curves_have_one_panel_per_unit() -> None:
    history = {
        "val/loss": [(20, 0.5), (10, 1.0)],
        "train/loss": [(step, 1 / (1 + step)) for step in range(30)],
        "val/accuracy": [(10, 0.5), (20, 0.75)],
        "val/f1": [(10, 0.5), (20, 0.7)],
        "val/f1[a]": [(10, 0.5)],
        "val/ece": [(10, 0.1), (20, 0.05)],
        "train/learning_rate": [(0, 0.1), (20, 0.01)],
        "train/samples_per_s": [(0, 9.0)],
        "val/roc_auc": [],
    }
    axes = learning_curves(history).axes
    assert [a.get_title(loc="left") for a in axes] == ["loss", "scores", "ece", "learning rate"]
    assert [[line.get_label() for line in a.lines] for a in axes] == [
        ["train/loss", "val/loss"],
        ["val/accuracy", "val/f1"],
        ["val/ece"],
        ["train/learning_rate"],
    ]
    assert axes[0].lines[1].get_xydata().tolist() == [[10, 1.0], [20, 0.5]]
    assert all(a.get_xlabel() == "step" for a in axes)
    assert legend(axes[1]) == ["val/accuracy", "val/f1"]


def test_learning_curves_of_nothing_say_so() -> None:
    assert learning_curves({}).axes[0].get_title(loc="left") == "no metrics yet"


def test_a_confusion_matrix_has_true_rows_and_counts() -> None:
    targets = np.array([0, 0, 0, 1])
    probabilities = np.eye(3)[[0, 0, 2, 1]]
    axes = confusion_matrix(probabilities, targets, ["a", "$b$", "c"]).axes[0]
    shares = axes.images[0].get_array()
    assert shares is not None
    np.testing.assert_allclose(shares, [[2 / 3, 0, 1 / 3], [0, 1, 0], [0, 0, 0]])
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "2", (2, 0): "1", (1, 1): "1"}  # x is the prediction
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", r"\$b\$", "c"]
    assert "3 of 4" in axes.get_title(loc="left")


@pytest.mark.parametrize("classes", [21, 200])
def test_a_confusion_matrix_of_many_classes_names_its_worst_confusions(classes: int) -> None:
    targets = np.repeat(np.arange(classes), 5)
    predicted = targets.copy()
    predicted[35:39] = 3  # four of class 7
    names = [f"class-{number}" for number in range(classes)]
    axes = confusion_matrix(np.eye(classes)[predicted], targets, names).axes[0]
    assert not axes.texts
    assert len(axes.get_xticks()) <= 60
    assert "class-7 → class-3 (4)" in axes.get_xlabel()


def test_roc_curves_leave_out_absent_classes_and_say_so() -> None:
    targets = np.array([0, 1, 3] * 20)
    axes = roc_curves(probabilities_of(targets, 4), targets, ["_a", "b", "gone", "d"]).axes[0]
    assert len(axes.lines) == 4  # chance and three classes
    assert [name.split()[-1] for name in legend(axes)] == ["chance", "_a", "b", "d"]
    assert "left out, no samples (1 of 4): gone" in axes.get_title(loc="left")


def test_roc_curves_of_two_classes_are_one_curve_and_of_one_class_none() -> None:
    targets = np.array([0, 1] * 10)
    assert len(roc_curves(probabilities_of(targets, 2), targets, ["no", "yes"]).axes[0].lines) == 2
    alone = np.zeros(5, dtype=np.int64)
    axes = roc_curves(probabilities_of(alone, 2), alone, ["no", "yes"]).axes[0]
    assert len(axes.lines) == 1
    assert "no class has samples on both sides" in axes.get_title(loc="left")


def test_roc_curves_of_many_classes_name_the_worst() -> None:
    targets = np.repeat(np.arange(30), 4)
    axes = roc_curves(probabilities_of(targets, 30), targets, [f"c{number}" for number in range(30)]).axes[0]
    assert len(axes.lines) == 31
    assert len(legend(axes)) == 1 + 1 + 6
    assert "the other 24 classes" in legend(axes)


def test_the_reliability_diagram_draws_the_metrics_bins() -> None:
    targets = np.arange(300) % 3
    probabilities = probabilities_of(targets, 3)
    bins = reliability(probabilities, targets)
    above, below = reliability_diagram(probabilities, targets).axes
    assert f"{bins.ece:.4f}" in above.get_title(loc="left")
    assert [bar.get_height() for bar in below.patches] == bins.counts.tolist()
    heights = [bar.get_height() for bar in above.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, bins.accuracy[bins.counts > 0])
    assert below.get_ylabel() == "samples"


def test_predicted_against_true_has_a_row_per_target_with_residuals() -> None:
    true = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    axes = predicted_against_true(true + [1.0, 0.0], true, ["height", "width"]).axes
    assert len(axes) == 6
    assert axes[0].get_title(loc="left") == "height: rmse 1"
    assert axes[3].get_title(loc="left") == "width: rmse 0"
    assert np.asarray(axes[0].collections[0].get_offsets()).tolist() == [[1, 2], [2, 3], [3, 4]]
    assert np.asarray(axes[1].collections[0].get_offsets()).tolist() == [[2, -1], [3, -1], [4, -1]]
    assert (axes[0].get_xlabel(), axes[0].get_ylabel()) == ("true", "predicted")


def test_many_samples_and_targets_are_thinned_and_said() -> None:
    true = np.random.default_rng(0).normal(size=(6000, 9))
    figure = predicted_against_true(true, true, [f"y{number}" for number in range(9)])
    assert figure.get_suptitle() == "first 8 of 9 targets, 5000 of 6000 samples drawn"
    assert len(figure.axes[0].collections[0].get_offsets()) == 5000


def test_a_forecast_shows_one_step_ahead_two_windows_and_the_error_by_step() -> None:
    true = np.arange(5 * 3, dtype=float).reshape(5, 3, 1)
    predicted = true + np.array([1.0, 2.0, 3.0])[None, :, None]
    predicted[4] += 10
    axes = forecast_against_truth(predicted, true, ["load"]).axes
    assert [line.get_label() for line in axes[0].lines] == ["truth", "forecast"]
    assert np.asarray(axes[0].lines[1].get_ydata()).tolist() == predicted[:, 0, 0].tolist()
    assert axes[2].get_title(loc="left") == "worst window (4): mae 12"
    assert np.asarray(axes[3].lines[0].get_ydata()).tolist() == [3.0, 4.0, 5.0]
    assert len(forecast_against_truth(predicted[:, :1], true[:, :1], ["load"]).axes) == 1


def test_the_figures_of_a_task_and_their_files(tmp_path: Path) -> None:
    targets = np.arange(40) % 4
    labels: Any = SimpleNamespace(classes=("a", "b", "c", "d"))
    figures = figures_for("classification", probabilities_of(targets, 4), targets, labels)
    paths = save(figures, tmp_path / "deep" / "plots")
    assert [path.name for path in paths] == ["confusion-matrix.png", "roc.png", "calibration.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_numbers_are_drawn_in_original_units() -> None:
    target = ScaledTarget(names=("y",), mean=(100.0,), std=(10.0,))
    numbers: Any = SimpleNamespace(unscale=target.unscale, target_names=target.names)
    scaled = np.array([[0.0], [1.0]])
    figures = figures_for("regression", scaled, scaled, numbers)
    assert list(figures) == ["predicted-against-true"]
    offsets = figures["predicted-against-true"].axes[0].collections[0].get_offsets()
    assert np.asarray(offsets).tolist() == [[100, 100], [110, 110]]
    assert list(figures_for("forecasting", scaled[None], scaled[None], numbers)) == ["forecast-against-truth"]
    assert figures_for("language_modelling", None, None, numbers) == {}
    assert figures_for("translation", np.zeros((2, 3)), np.zeros((2, 3)), numbers) == {}
    with pytest.raises(ForgelineError, match="got none"):
        figures_for("regression", None, None, numbers)


def test_pyplot_is_never_imported() -> None:
    code = "import sys, forgeline.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
