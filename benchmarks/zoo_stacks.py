"""Deep stacks on MNIST digits: what each module of the stacking network adds, what layers learnt without labels save.

Errors are those of `evaluate`; the errors of a stacking network's modules are counted beside it on the same split. The
deep belief network saw all digits of train without labels, and 1,000 of them with; the same network from random weights
has the same settings, labels and steps. Which digits keep their labels, order and random weights change with the seed.
Samples of both machines are reported, and held to no bar.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import forgeline as fl
from benchmarks.bars import SPECS, evaluate
from benchmarks.generator_bars import GeneratorBar

AT_MOST = 0.06
RISE_AT_MOST = 0.01  # of the error, from one module to the next
SEEDS = (0, 1, 2)
ERROR_AT_MOST = 0.09
RATIO_AT_LEAST = 1.3  # of the error from random weights to that from learnt layers
SAMPLED = ("frechet_distance", "frechet_distance_untrained", "judge_score", "judge_own_accuracy")

GENERATORS = tuple(
    GeneratorBar(name=f"mnist5k {title}, samples", spec=spec, metrics=SAMPLED, evaluation={"untrained": True})
    for title, spec in (("RBM", "zoo/rbm.yaml"), ("DBN", "zoo/dbn.yaml"))
)


def stacked_errors(say: Callable[[str], None]) -> dict[str, Any]:
    """Mean test error over the seeds; no module may be worse than the one below by more than a point."""
    errors: list[float] = []
    modules: list[list[float]] = []
    seconds: list[float] = []
    for seed in SEEDS:
        started = time.perf_counter()
        run = _trained("dsn", {"trainer.seed": seed})
        seconds.append(time.perf_counter() - started)
        errors.append(1 - evaluate(run, "accuracy"))
        modules.append(_errors_by_module(run))
        say(f"  dsn, seed {seed}: test error {errors[-1]:.4f}, by module {modules[-1]} in {seconds[-1]:.0f} s")
    mean = sum(errors) / len(errors)
    rises = [after - before for found in modules for before, after in zip(found, found[1:], strict=False)]
    return {
        "name": "mnist5k DSN",
        "spec": "zoo/dsn.yaml",
        "metric": "test error",
        "varied": "trainer.seed",
        "values": list(SEEDS),
        "scores": errors,
        "mean": mean,
        "at_most": AT_MOST,
        "errors_by_module": modules,
        "largest_rise": max(rises),
        "rise_at_most": RISE_AT_MOST,
        "seconds": [round(second, 1) for second in seconds],
        "met": mean <= AT_MOST and max(rises) <= RISE_AT_MOST,
    }


def _errors_by_module(run: fl.Run) -> list[float]:
    """Share of the test split that each module takes for another class, from the lowest to the last."""
    import torch

    from forgeline_architectures.dsn.model import DeepStackingNetwork
    from forgeline_jobs.data.base import as_int64
    from forgeline_jobs.train.preparation import prepare
    from forgeline_jobs.train.spec import TrainSpec

    model = cast(DeepStackingNetwork, run.bundle.model)
    test = prepare(cast(TrainSpec, fl.load(SPECS / "zoo" / "dsn.yaml").spec).data).splits["test"]
    arrays = test.batch(as_int64(range(len(test))))
    batch = {name: torch.as_tensor(values) for name, values in arrays.items()}
    with torch.no_grad():
        found = model.estimates(batch)
    return [round((estimate.argmax(1) != batch["target"]).float().mean().item(), 4) for estimate in found]


def few_labels(say: Callable[[str], None]) -> dict[str, Any]:
    """Mean test error of the deep belief network with 1,000 labels, and how much larger it is from random weights."""
    source = f"runs:/{_trained('dbn', {}).id}"
    errors: dict[str, list[float]] = {"learnt layers": [], "random weights": []}
    seconds: list[float] = []
    for seed in SEEDS:
        for start, found in errors.items():
            started = time.perf_counter()
            change = {"trainer.seed": seed, "data.label_seed": seed}
            run = _trained(
                "dbn-labels", {**change, "fine_tune.pretrained": source if start == "learnt layers" else None}
            )
            seconds.append(time.perf_counter() - started)
            found.append(1 - evaluate(run, "accuracy"))
            say(f"  dbn-labels, {start}, seed {seed}: test error {found[-1]:.4f} in {seconds[-1]:.0f} s")
    error, random = (statistics.fmean(found) for found in errors.values())
    asked = {"error": {"at_least": None, "at_most": ERROR_AT_MOST}, "ratio": {"at_least": RATIO_AT_LEAST}}
    return {
        "name": "mnist5k DBN, 1,000 labels",
        "spec": "zoo/dbn-labels.yaml",
        "varied": "trainer.seed, data.label_seed",
        "values": list(SEEDS),
        "errors": errors,
        "measured": {"error": [error], "error from random weights": [random], "ratio": [random / error]},
        "asked": asked,
        "seconds": [round(second, 1) for second in seconds],
        "met": error <= ERROR_AT_MOST and random / error >= RATIO_AT_LEAST,
    }


def _trained(name: str, change: dict[str, Any]) -> fl.Run:
    run = fl.run(SPECS / "zoo" / f"{name}.yaml", set=change)
    if run.state != "succeeded":
        raise RuntimeError(f"{name} with {change}: {run.state}, {run.message}")
    return run
