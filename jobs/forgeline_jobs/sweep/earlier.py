"""An earlier sweep, whose trials a new one learns from."""

from __future__ import annotations

from collections.abc import Sequence

from forgeline.errors import NotFound, SpecError, UsageError
from forgeline.ledger.ledger import Ledger
from forgeline_jobs.sweep.space import draws
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Outcome, Trial, read

KEY = "search.warm_start"


def trials(ledger: Ledger, spec: SweepSpec, *, own: str | None = None) -> Sequence[Trial]:
    """The trials of the sweep that `search.warm_start` names, of those that have ended well or were stopped early.

    Args:
        own: the run that asks, which may have the same name.

    Raises:
        SpecError: there is no such sweep, or its trials are no points of this space.
    """
    named = spec.search.warm_start
    assert named is not None
    try:
        run = ledger.get(named)
        if run.id == own:
            run = next((each for each in ledger.list_runs(name=named, kind=run.kind) if each.id != own), run)
    except (NotFound, UsageError) as error:
        raise SpecError(f"got {named!r}; {error}", key=KEY) from error
    found = [
        trial
        for trial in read(ledger.journal(run.id))
        if trial.outcome in (Outcome.SUCCEEDED, Outcome.PRUNED)
        and trial.objectives is not None
        # Of a population's copy, the values are not those that it was trained with.
        and not trial.copies
    ]
    if not found:
        raise SpecError(f"got {named!r}, a run of kind {run.kind} that has no trials to learn from", key=KEY)
    for trial in found:
        try:
            draws(spec.space, trial.values)
        except ValueError as error:
            raise SpecError(
                f"got {named!r}, which searched another space (trial {trial.number}: {error}); give its space to this "
                "sweep, or leave it out",
                key=KEY,
            ) from error
        if trial.objectives is not None and len(trial.objectives) != len(spec.objectives):
            raise SpecError(
                f"got {named!r}, which had {len(trial.objectives)} objectives and this sweep has "
                f"{len(spec.objectives)}; leave it out",
                key=KEY,
            )
    return found
