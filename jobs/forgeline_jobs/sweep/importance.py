"""Which keys of a space matter, by functional ANOVA (Hutter, Hoos and Leyton-Brown 2014).

Trials are compared at the same length of training: those that succeeded, or, where early stopping left too few of them,
all at the last step that each was measured at. A key that only some choice brings is held against the trials with it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forgeline.cli.render import text_of
from forgeline_jobs.sweep.samplers import known_trial
from forgeline_jobs.sweep.space import Dimension
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Outcome, Trial

FEWEST = 8
"""Trials below which nothing is said."""

MOST = 300
"""Trials that are counted at most, spread over the whole sweep: a thousand would take a quarter of a minute."""

SEED = 0
"""Of the forest that the analysis grows: the same trials give the same shares."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What one key does to an objective.

    Attributes:
        key: of the space.
        share: of the variance that all keys explain one by one, from 0 to 1; None where trials are too few or alike.
        trials: that were counted.
        where: the choices that bring the key; empty for one that every trial has.
        step: at which trials were compared; None where those count that succeeded.
    """

    key: str
    share: float | None
    trials: int
    where: Mapping[str, Any]
    step: int | None


def importances(spec: SweepSpec, trials: Sequence[Trial], *, objective: int = 0) -> list[Importance] | None:
    """The keys, those that matter most first; None where there are too few trials to compare.

    Args:
        spec: of the sweep.
        trials: all of them.
        objective: which one, counted from 0.
    """
    step, counted = compared(trials)
    if len(counted) < FEWEST:
        return None
    counted = [counted[at * len(counted) // MOST] for at in range(MOST)] if len(counted) > MOST else counted
    found = _within(spec, spec.space, counted, objective, above=[], where={})
    told = [replace(one, step=step) for one in found]
    return sorted(told, key=lambda one: -1.0 if one.share is None else one.share, reverse=True)


def compared(trials: Sequence[Trial]) -> tuple[int | None, list[Trial]]:
    """The trials that are compared, with the objectives that count, and the step where it is not their end."""
    kept = [trial for trial in trials if not trial.copies]  # what others trained shows nothing of a trial's values
    whole = [trial for trial in kept if trial.outcome is Outcome.SUCCEEDED and _is_whole(trial.objectives)]
    early = [trial for trial in kept if trial.outcome is Outcome.PRUNED and _is_whole(trial.reports.get(trial.step))]
    if len(whole) >= FEWEST or not early:
        return None, whole
    step = min(trial.step for trial in [*whole, *early])
    there = [trial for trial in trials if trial in whole or trial in early]
    return step, [
        replace(trial, objectives=trial.reports[step]) for trial in there if _is_whole(trial.reports.get(step))
    ]


def shown(found: Sequence[Importance] | None, keys: Sequence[str]) -> list[str]:
    """Keys, those that matter most first; in the order of the space where nothing is known."""
    known = list(dict.fromkeys(one.key for one in found or () if one.share is not None))
    return [*known, *(key for key in keys if key not in known)]


def title(metric: str, found: Sequence[Importance] | None, spec: SweepSpec) -> str:
    """What the shares are of."""
    step = found[0].step if found else None
    after = "" if step is None else f" after {step} {spec.unit}, where trials had the same training"
    return f"what the keys explain of {metric}{after}"


def importance_row(one: Importance) -> dict[str, Any]:
    """An importance as a row of a table."""
    share = "too few trials, or all alike" if one.share is None else round(one.share, 4)
    return {"key": one.key, "importance": share, "trials": one.trials, "where": text_of(one.where)}


def _within(
    spec: SweepSpec,
    space: Mapping[str, Dimension],
    trials: Sequence[Trial],
    objective: int,
    *,
    above: Sequence[str],
    where: Mapping[str, Any],
) -> list[Importance]:
    """Those of some keys, then those of the keys that their choices bring."""
    shares = _shares(spec, trials, [*above, *space], objective) if len(trials) >= FEWEST else {}
    found = [Importance(key=key, share=shares.get(key), trials=len(trials), where=where, step=None) for key in space]
    for key, dimension in space.items():
        for option in dimension.options if dimension.kind == "choice" else ():
            brought = dimension.brought(option)
            if brought:
                those = [trial for trial in trials if trial.values[key] == option]
                found += _within(spec, brought, those, objective, above=[*above, *space], where={**where, key: option})
    return found


def _shares(spec: SweepSpec, trials: Sequence[Trial], keys: Sequence[str], objective: int) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Which way is better says nothing here.
        study = optuna.create_study(
            directions=[optuna.study.StudyDirection.MINIMIZE] * len(spec.objectives),
            sampler=optuna.samplers.RandomSampler(seed=SEED),
        )
        study.add_trials([known_trial(spec.space, trial) for trial in trials])
        try:
            shares = optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.FanovaImportanceEvaluator(seed=SEED),
                params=list(keys),
                target=lambda trial: trial.values[objective],
            )
        except RuntimeError:  # all trials are alike, and there is nothing to explain
            return {}
    return {key: float(share) for key, share in shares.items() if math.isfinite(share)}


def _is_whole(objectives: Sequence[float] | None) -> bool:
    return objectives is not None and all(math.isfinite(value) for value in objectives)
