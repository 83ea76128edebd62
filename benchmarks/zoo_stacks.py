"""The deep stacking network: test error on MNIST digits, and what each of its modules adds.

The error is that of `evaluate`; the modules' errors are counted beside it on the same split.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import forgeline as fl
from benchmarks.bars import SPECS, evaluate

AT_MOST = 0.06
RISE_AT_MOST = 0.01  # of the error, from one module to the next
SEEDS = (0, 1, 2)


def stacked_errors(say: Callable[[str], None]) -> dict[str, Any]:
    """Mean test error over the seeds; no module may be worse than the one below by more than a point."""
    spec = SPECS / "zoo" / "dsn.yaml"
    errors: list[float] = []
    modules: list[list[float]] = []
    seconds: list[float] = []
    for seed in SEEDS:
        started = time.perf_counter()
        run = fl.run(spec, set={"trainer.seed": seed})
        seconds.append(time.perf_counter() - started)
        if run.state != "succeeded":
            raise RuntimeError(f"{spec.name}, trainer.seed={seed}: {run.state}, {run.message}")
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
