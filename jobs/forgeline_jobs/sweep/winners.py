"""What becomes of the best trial."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from forgeline.paths import RunPaths
from forgeline.spec.loading import load
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import LABEL, Trial

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext


def register_best(context: RunContext, spec: SweepSpec, trial: Trial) -> dict[str, Any]:
    """Make the trial's model the next version of the registered model, as its own run would have done.

    Returns:
        Model, version, alias (None for a candidate), and a sentence for each condition of the gate.
    """
    # Imports MLflow's model code, which only a sweep that registers pays for.
    from forgeline_jobs.train.registration import register

    runs = context.ledger.list_runs(parent=context.run_id)
    run = next(run for run in runs if run.labels.get(LABEL) == str(trial.number))
    trained = replace(
        context, run_id=run.id, paths=RunPaths(context.paths.home, run.id), spec=load(run.spec, stored=True).spec
    )
    assert spec.register_ is not None
    return register(trained, spec.register_, run.result, run.spec)
