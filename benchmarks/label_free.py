"""Accuracy without labels: estimates of windows beside what the labels of these windows say.

    make acceptance ONLY=label-free

Models are trained as the shipped specs have it. A window is 2,000 rows, drawn from the test split with weights that
depend on the inputs alone, so that what is true of an input stays; it is counted as a replica counts, and estimated
from the counts. A test split has far fewer rows than that, so rows repeat, and what is compared with is the share of
right answers among the rows as drawn. Noise and other shares of the classes break the assumption, and are reported.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import forgeline as fl
from benchmarks.bars import SPECS, whole_splits
from forgeline.bundle.observer import Observer
from forgeline_deploy.performance import Estimated, Estimator, warnings_of

Say = Callable[[str], None]
Weights = NDArray[np.float64]

ROWS, WINDOWS = 2_000, 200
STRONGEST = 1.5
"""Weights are exp(a z) of a standardised direction z, clipped at 4, and of an a up to this."""
LARGEST_ERROR, FEWEST_COVERED = 0.02, 0.90


@dataclass(frozen=True, kw_only=True)
class Case:
    """A spec and the models of it.

    Attributes:
        spec: file under jobs/specs.
        key: that is varied.
        values: its values; a model each.
    """

    spec: str
    key: str
    values: tuple[int, ...]


CASES = {
    "breast-cancer": Case(spec="breast-cancer.yaml", key="data.split.seed", values=(0, 1, 2, 3, 4)),
    "mnist5k": Case(spec="digits.yaml", key="trainer.seed", values=(0, 1)),
}


class Tested:
    """A trained model on its test split.

    Attributes:
        right: whether each row's class was predicted [n].
        directions: standardised properties of the inputs [n, d].
        targets: true classes [n].
    """

    def __init__(self, case: Case, value: int) -> None:
        change = {case.key: value}
        run = fl.run(SPECS / case.spec, set={**change, "register": None})
        if run.state != "succeeded":
            raise RuntimeError(f"{case.spec}, {case.key}={value}: {run.state}, {run.message}")
        self.bundle = run.bundle
        [arrays] = whole_splits(SPECS / case.spec, change, "test")
        self.targets = np.asarray(arrays["target"]).ravel()
        self.arrays = {name: held for name, held in arrays.items() if name != "target"}
        self.outputs = self.bundle.outputs(self.arrays)
        self.right = self.outputs.argmax(axis=1) == self.targets
        self.directions = _standardised(self.arrays["numeric" if "numeric" in self.arrays else "image"])
        reference = self.bundle.reference
        assert reference is not None and reference.calibration is not None
        estimator = Estimator.of(reference)
        assert estimator is not None
        self.reference, self.estimator = reference, estimator
        self.held_out = sum(reference.calibration.correct) / sum(reference.calibration.rows)

    def window(self, chosen: NDArray[np.int64], noise: float = 0.0, seed: int = 0) -> tuple[float, Estimated, float]:
        """The true share, the estimate, and the mean probability, of rows of the test split, noise added to inputs."""
        arrays, outputs = {name: held[chosen] for name, held in self.arrays.items()}, self.outputs[chosen]
        right = self.right[chosen]
        if noise:
            rng = np.random.default_rng(seed)
            arrays = {
                name: (held + rng.normal(0, noise, held.shape)).astype(held.dtype) if held.dtype.kind == "f" else held
                for name, held in arrays.items()
            }
            outputs = self.bundle.outputs(arrays)
            right = outputs.argmax(axis=1) == self.targets[chosen]
        observer = Observer(self.bundle.preprocessing, self.reference)
        observer.count(arrays, outputs=outputs)
        found = self.estimator.estimate(observer.take())
        assert found is not None
        return float(right.mean()), found, float(outputs.max(axis=1).mean())


@cache
def tested(name: str, value: int) -> Tested:
    """A model, trained once."""
    return Tested(CASES[name], value)


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The rows of the group."""
    kinds = {"covariates reweighted": reweighted, "noise": noisy, "classes reweighted": classes}
    return {f"{name}, {told}": partial(_told, say, name, kind) for name in CASES for told, kind in kinds.items()}


def _told(say: Say, name: str, measure: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    row = measure(name)
    say(f"{name}: {row}")
    return {"spec": CASES[name].spec, **row}


def reweighted(name: str) -> dict[str, Any]:
    """Weights by inputs: the bar."""
    models, all_errors, all_covered = [], list[float](), list[bool]()
    for value in CASES[name].values:
        model, rng = tested(name, value), np.random.default_rng(value)
        found, peers, effective = [], [], []
        for _ in range(WINDOWS):
            weights = _tilted(model.directions, rng)
            effective.append(float(1 / (weights**2).sum()))
            truth, estimated, certain = model.window(rng.choice(len(weights), ROWS, p=weights))
            found.append((truth, estimated))
            peers.append((abs(certain - truth), abs(model.held_out - truth)))
        summed = _summed(found)
        all_errors += [abs(estimated.accuracy - truth) for truth, estimated in found]
        all_covered += [estimated.low <= truth <= estimated.high for truth, estimated in found]
        models.append(
            {
                CASES[name].key: value,
                **summed,
                "error_of_mean_probability": statistics.fmean(error for error, _ in peers),
                "error_of_held_out_accuracy": statistics.fmean(error for _, error in peers),
                "test_rows": len(model.right),
                "effective_rows": statistics.median(effective),
                "held_out_accuracy": model.held_out,
                "test_accuracy": float(model.right.mean()),
            }
        )
    mean, coverage = statistics.fmean(all_errors), statistics.fmean(all_covered)
    return {
        "metric": "mean absolute error of the estimated accuracy",
        "mean": mean,
        "at_most": LARGEST_ERROR,
        "coverage": coverage,
        "coverage_at_least": FEWEST_COVERED,
        "rows": ROWS,
        "windows": len(all_errors),
        "models": models,
        "met": mean <= LARGEST_ERROR and coverage >= FEWEST_COVERED,
    }


def noisy(name: str) -> dict[str, Any]:
    """Normal noise on inputs, in standard deviations of the training inputs: reported."""

    def draw(model: Tested, level: float, rng: np.random.Generator) -> tuple[float, Estimated, float]:
        return model.window(rng.integers(0, len(model.right), ROWS), noise=level, seed=int(rng.integers(2**31)))

    return _reported(name, "noise", (0.1, 0.25, 0.5, 1.0, 2.0), draw, windows=3)


def classes(name: str) -> dict[str, Any]:
    """Weights by the true class, exp(a) for half of the classes: p(y given x) changes; reported."""

    def draw(model: Tested, level: float, rng: np.random.Generator) -> tuple[float, Estimated, float]:
        count = model.outputs.shape[1]
        more = rng.permutation(count) < count // 2
        weights = np.exp(level * more[model.targets])
        return model.window(rng.choice(len(weights), ROWS, p=weights / weights.sum()))

    return _reported(name, "log of the odds", (0.0, 1.0, 2.0, 3.0), draw, windows=20)


def _reported(
    name: str,
    what: str,
    levels: tuple[float, ...],
    draw: Callable[[Tested, float, np.random.Generator], tuple[float, Estimated, float]],
    *,
    windows: int,
) -> dict[str, Any]:
    told = []
    for level in levels:
        found = [
            draw(tested(name, value), level, rng)[:2]
            for value in CASES[name].values
            for rng in [np.random.default_rng((value, round(100 * level)))]
            for _ in range(windows)
        ]
        told.append({what: level, **_summed(found)})
    return {"metric": f"by {what}", "levels": told, "met": True}


def _summed(found: list[tuple[float, Estimated]]) -> dict[str, Any]:
    """Figures over windows."""
    warned = [warnings_of(estimated.figures()) for _, estimated in found]
    return {
        "accuracy": statistics.fmean(truth for truth, _ in found),
        "estimated": statistics.fmean(estimated.accuracy for _, estimated in found),
        "error": statistics.fmean(abs(estimated.accuracy - truth) for truth, estimated in found),
        "coverage": statistics.fmean(estimated.low <= truth <= estimated.high for truth, estimated in found),
        "width": statistics.fmean(estimated.high - estimated.low for _, estimated in found),
        "warned": statistics.fmean(bool(warnings) for warnings in warned),
        "warning": next((warnings[0] for warnings in warned if warnings), None),
    }


def _tilted(directions: NDArray[np.float64], rng: np.random.Generator) -> Weights:
    """Weights [n] along one property, a random mixture of all, or their mean."""
    count = directions.shape[1]
    along = (
        directions[:, rng.integers(count)],
        directions @ rng.normal(size=count),
        directions.mean(axis=1),
    )[rng.integers(3)]
    z = (along - along.mean()) / along.std()
    weights = np.exp(rng.choice((-1, 1)) * rng.uniform(0, STRONGEST) * np.clip(z, -4, 4))
    return np.asarray(weights / weights.sum())


def _standardised(inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Columns that vary [n, d]."""
    flat = np.asarray(inputs, dtype=np.float64).reshape(len(inputs), -1)
    spread = flat.std(axis=0)
    # A pixel that is lit in a handful of images would put all weight on these.
    varying = spread > 0.1 * spread.max()
    return np.asarray((flat - flat.mean(axis=0))[:, varying] / spread[varying])
