"""What becomes of the best trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.ledger.rows import plain
from forgeline.paths import RunPaths
from forgeline.registry.fetching import BUNDLE
from forgeline.spec.loading import load
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import LABEL, Trial, course

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext


def register_best(
    context: RunContext, spec: SweepSpec, trials: Sequence[Trial], trial: Trial, *, spent: Callable[[], str | None]
) -> dict[str, Any]:
    """Make the best trial's model, or the one retrained like it, the next version of the registered model.

    Args:
        context: of the sweep.
        spec: of the sweep.
        trials: all of them.
        trial: the best one.
        spent: which part of the budget is spent, and leaves nothing to train with; None where none is.

    Returns:
        Model, version, alias (None for a candidate), and a sentence for each condition of the gate.
    """
    # Imports MLflow's model code, which only a sweep that registers pays for.
    from forgeline_jobs.train.registration import register

    runs = context.ledger.list_runs(parent=context.run_id)
    own = run = next(run for run in runs if run.labels.get(LABEL) == str(trial.number))
    assert spec.register_ is not None
    if spec.register_.retrain:
        from forgeline_jobs.sweep.retraining import retrain

        trained, step = course(trials, trial.number), own.result["step"]
        again = retrain(context, spec, trial=trial.number, course=trained, chosen_step=step, spent=spent)
        if again is None:
            text = f"{spent()}; the model of trial {trial.number} is registered as it is, not retrained"
            context.message(text, level="warning")
        else:
            run = again
            _tell_metrics(RunPaths(context.paths.home, run.id).bundle, own.result["metrics"])
    below = replace(
        context, run_id=run.id, paths=RunPaths(context.paths.home, run.id), spec=load(run.spec, stored=True).spec
    )
    # On the splits that it was trained on, a retrained model would look better than it is.
    return register(below, spec.register_, {**run.result, "metrics": own.result["metrics"]}, run.spec)


def _tell_metrics(bundle: Path, metrics: Mapping[str, float]) -> None:
    """Have a bundle tell what the best trial has shown: its own metrics are of what it was trained on."""
    manifest = bundle / BUNDLE
    told = json.loads(manifest.read_text(encoding="utf-8")) | {"metrics": plain(dict(metrics))}
    temporary = manifest.with_suffix(".tmp")
    temporary.write_text(json.dumps(told, indent=2), encoding="utf-8")
    temporary.replace(manifest)
