"""Optuna's samplers and pruners by the names of the spec."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from forgeline_jobs.sweep.requirements import Requirement, violations
from forgeline_jobs.sweep.space import Dimension, draws, suggest
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Outcome, Trial

if TYPE_CHECKING:
    import optuna


def new_study(spec: SweepSpec, maximise: Sequence[bool]) -> optuna.Study:
    """An empty study in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna.create_study(
        study_name=spec.name,  # by which Hyperband deals trials out to its brackets
        sampler=_sampler(spec),
        pruner=_pruner(spec),
        directions=["maximize" if up else "minimize" for up in maximise],
    )


def uniform_draws(spec: SweepSpec) -> optuna.Study:
    """A study that draws uniformly, and learns nothing."""
    import optuna

    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=(spec.search.seed + 1) % 2**32))


def failed() -> optuna.trial.TrialState:
    """The state of a trial that says nothing of its point."""
    import optuna

    return optuna.trial.TrialState.FAIL


def pruned() -> optuna.trial.TrialState:
    """The state of a trial that was stopped early."""
    import optuna

    return optuna.trial.TrialState.PRUNED


def known_trial(
    space: Mapping[str, Dimension], trial: Trial, *, require: Sequence[Requirement] = ()
) -> optuna.trial.FrozenTrial:
    """A finished trial, for a study to learn from."""
    import optuna

    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked.enqueue_trial(draws(space, trial.values))
    probe = asked.ask()
    suggest(space, probe)
    assert trial.objectives is not None
    if trial.outcome is Outcome.SUCCEEDED:
        state, values = optuna.trial.TrialState.COMPLETE, list(trial.objectives)
    else:
        state, values = optuna.trial.TrialState.PRUNED, None
    return optuna.trial.create_trial(
        state=state,
        params=probe.params,
        distributions=probe.distributions,
        values=values,
        constraints=violations(require, trial.metrics) if trial.outcome is Outcome.SUCCEEDED else {},
        intermediate_values={step: objectives[0] for step, objectives in trial.reports.items()},
    )


def _sampler(spec: SweepSpec) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    seed = spec.search.seed
    match spec.search.algorithm:
        case "tpe":
            return samplers.TPESampler(seed=seed)
        case "bohb":
            # Falkner et al. 2018 (arXiv:1807.01774): the density of all keys together.
            return samplers.TPESampler(seed=seed, multivariate=True, group=True)
        case "gp":
            return samplers.GPSampler(seed=seed)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed)
        case "nsga2":
            return samplers.NSGAIISampler(seed=seed)
        case "quasi_random":
            return samplers.QMCSampler(seed=seed, scramble=True)
    return samplers.RandomSampler(seed=seed)  # of a grid, only what a point leaves out


def _pruner(spec: SweepSpec) -> optuna.pruners.BasePruner:
    from optuna import pruners

    grace, reduction = spec.stop.grace.value, spec.stop.reduction
    match spec.early_stopping:
        case "asha":
            # Li et al. 2020 (arXiv:1810.05934), algorithm 2: a trial is judged at its own rungs, and waits for none.
            return pruners.SuccessiveHalvingPruner(min_resource=grace, reduction_factor=reduction)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=grace, reduction_factor=reduction)
        case "median":
            return pruners.MedianPruner(n_warmup_steps=grace)
    return pruners.NopPruner()
