"""Classification metrics: equal to torchmetrics, true to their definitions, safe where classes are missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forgeline import metrics
from forgeline.errors import ForgelineError

Sample = tuple[NDArray[np.float32], NDArray[np.int64]]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Probabilities with many ties, and targets that may leave classes out."""
    seed, rows, classes = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 60)), draw(st.integers(2, 6))
    rng = np.random.default_rng(seed)
    used = draw(st.integers(1, classes))
    return softmax(np.round(rng.normal(size=(rows, classes)) * 2)), rng.integers(0, used, size=rows)


@given(samples())
@settings(max_examples=60, deadline=None)
def test_values_are_in_range_and_macro_is_a_mean(sample: Sample) -> None:
    probabilities, targets = sample
    names = [f"c{number}" for number in range(probabilities.shape[1])]
    values = metrics.compute("classification", probabilities, targets, classes=names, loss=0.5)
    assert values["loss"] == 0.5
    assert all(np.isfinite(value) for value in values.values())
    bounded = {name: value for name, value in values.items() if name not in {"loss", "log_loss"}}
    assert all(0 <= value <= 1 for value in bounded.values())
    assert {name for name in values if name.startswith("recall[")} == {f"recall[c{n}]" for n in np.unique(targets)}
    assert ("roc_auc" in values) == (len(np.unique(targets)) > 1)


@given(samples())
@settings(max_examples=60, deadline=None)
def test_metrics_do_not_depend_on_the_order_of_samples(sample: Sample) -> None:
    probabilities, targets = sample
    order = np.random.default_rng(0).permutation(len(targets))
    once = metrics.compute("classification", probabilities, targets)
    assert metrics.compute("classification", probabilities[order], targets[order]) == pytest.approx(once, abs=1e-12)


@given(samples())
@settings(max_examples=40, deadline=None)
def test_equal_to_torchmetrics(sample: Sample) -> None:
    import torch
    from torchmetrics.functional import classification as reference

    probabilities, targets = sample
    values = metrics.compute("classification", probabilities, targets)
    # Both libraries take the first of equal probabilities, but only for class numbers do they see the same prediction.
    predicted, truth = torch.tensor(probabilities.argmax(axis=1)), torch.tensor(targets)
    for name in ("precision", "recall", "f1_score"):
        function = getattr(reference, f"multiclass_{name}")
        expected = float(function(predicted, truth, num_classes=probabilities.shape[1], average="macro"))
        assert values[name.removesuffix("_score")] == pytest.approx(expected, abs=1e-6)
    present = metrics.roc_areas(probabilities, targets)
    for number, area in present.items():
        scores = torch.tensor(probabilities[:, number])
        assert area == pytest.approx(float(reference.binary_auroc(scores, (truth == number).long())), abs=1e-5)


def test_calibration_error_equals_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    rng = np.random.default_rng(3)
    probabilities, targets = softmax(rng.normal(size=(500, 4)) * 3), rng.integers(0, 4, size=500)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(targets), num_classes=4, n_bins=15
    )
    assert metrics.compute("classification", probabilities, targets)["ece"] == pytest.approx(float(expected), abs=1e-6)


@given(samples())
@settings(max_examples=40, deadline=None)
def test_reliability_bins_hold_every_sample_once(sample: Sample) -> None:
    probabilities, targets = sample
    bins = metrics.reliability(probabilities, targets)
    filled = bins.counts > 0
    assert bins.counts.sum() == len(targets)
    share = float((bins.accuracy[filled] * bins.counts[filled]).sum() / len(targets))
    assert share == pytest.approx(metrics.compute("classification", probabilities, targets)["accuracy"])
    assert (bins.confidence[filled] > bins.edges[:-1][filled] - 1e-9).all()
    assert (bins.confidence[filled] <= bins.edges[1:][filled] + 1e-9).all()


def test_a_value_on_an_edge_belongs_to_the_bin_below() -> None:
    """Guo et al. 2017: the bins are open on the left, closed on the right."""
    bins = metrics.reliability(np.array([[0.6, 0.4], [1.0, 0.0]]), np.array([0, 0]), bins=5)
    assert bins.counts.tolist() == [0, 0, 1, 0, 1]


def test_log_loss_equals_scikit_learn_and_is_finite_at_zero() -> None:
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    probabilities, targets = softmax(rng.normal(size=(50, 3))).astype(np.float64), rng.integers(0, 3, size=50)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    values = metrics.compute("classification", probabilities, targets)
    assert values["log_loss"] == pytest.approx(log_loss(targets, probabilities, labels=[0, 1, 2]))
    certain = metrics.compute("classification", np.array([[1.0, 0.0]]), np.array([1]))
    assert certain["log_loss"] == pytest.approx(149 * np.log(2))


def test_binary_roc_auc_is_that_of_the_second_class() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    probabilities, targets = softmax(rng.normal(size=(80, 2))), rng.integers(0, 2, size=80)
    values = metrics.compute("classification", probabilities, targets)
    assert values["roc_auc"] == pytest.approx(roc_auc_score(targets, probabilities[:, 1]))


def test_absent_classes_are_left_out_and_said() -> None:
    probabilities = softmax(np.random.default_rng(2).normal(size=(40, 4)))
    targets = np.arange(40) % 2
    values = metrics.compute("classification", probabilities, targets, classes=["a", "b", "c", "d"])
    areas = metrics.roc_areas(probabilities, targets)
    assert set(areas) == {0, 1}
    assert values["roc_auc"] == pytest.approx(np.mean(list(areas.values())))
    assert "f1[c]" not in values and "f1[a]" in values
    (said,) = metrics.remarks(targets, ["a", "b", "c", "d"])
    assert "`c`, `d`" in said and "2 of 4" in said
    assert metrics.remarks(targets, ["a", "b"]) == []
    assert "roc_auc cannot be computed" in metrics.remarks(np.zeros(3, dtype=int), ["a", "b"])[-1]


def test_perfect_predictions() -> None:
    values = metrics.compute("classification", np.eye(3)[[0, 1, 2, 1]], np.array([0, 1, 2, 1]))
    assert {name: values[name] for name in ("accuracy", "precision", "recall", "f1", "roc_auc")} == dict.fromkeys(
        ("accuracy", "precision", "recall", "f1", "roc_auc"), 1.0
    )
    assert values["log_loss"] == 0 and values["ece"] == 0


@pytest.mark.parametrize(
    ("outputs", "targets", "words"),
    [
        (np.ones((3, 2)), np.zeros(2, dtype=int), r"targets of shape \(3,\), got \(2,\)"),
        (np.ones((0, 2)), np.zeros(0, dtype=int), "at least one sample"),
        (
            np.array([[0.5, 0.5], [np.nan, 0.5]]),
            np.zeros(2, dtype=int),
            "not finite for 1 of 2 samples, first for sample 1",
        ),
        (np.ones((1, 2)), np.array([2]), "from 0 to 1, got 2"),
    ],
)
def test_wrong_arrays_are_refused(outputs: NDArray[np.float64], targets: NDArray[np.int64], words: str) -> None:
    with pytest.raises(ForgelineError, match=words):
        metrics.compute("classification", outputs, targets)
