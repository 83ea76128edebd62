"""What becomes of the best trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from forgeline.paths import RunPaths
from forgeline.spec.loading import load
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import LABEL, Trial, course

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext


def register_best(
    context: RunContext, spec: SweepSpec, trials: Sequence[Trial], trial: Trial, *, halted: bool
) -> dict[str, Any]:
    """Make the best trial's model, or the one retrained like it, the next version of the registered model.

    Args:
        context: of the sweep.
        spec: of the sweep.
        trials: all of them.
        trial: the best one.
        halted: whether the sweep has spent its budget, which leaves nothing to train with.

    Returns:
        Model, version, alias (None for a candidate), and a sentence for each condition of the gate.
    """
    # Imports MLflow's model code, which only a sweep that registers pays for.
    from forgeline_jobs.train.registration import register

    runs = context.ledger.list_runs(parent=context.run_id)
    own = run = next(run for run in runs if run.labels.get(LABEL) == str(trial.number))
    assert spec.register_ is not None
    if spec.register_.retrain and halted:
        context.message(f"the model of trial {trial.number} is registered as it is, not retrained", level="warning")
    elif spec.register_.retrain:
        from forgeline_jobs.sweep.retraining import retrain

        trained = course(trials, trial.number)
        run = retrain(context, spec, trial=trial.number, course=trained, chosen_step=own.result["step"])
    below = replace(
        context, run_id=run.id, paths=RunPaths(context.paths.home, run.id), spec=load(run.spec, stored=True).spec
    )
    # On the splits that it was trained on, a retrained model would look better than it is.
    return register(below, spec.register_, {**run.result, "metrics": own.result["metrics"]}, run.spec)
