"""Which keys matter: found where it is known, the same each time, and nothing said of too few trials."""

from __future__ import annotations

import pytest

from forgeline_jobs.sweep.importance import FEWEST, MOST, importances
from forgeline_jobs.sweep.trials import Outcome, Trial
from tests.jobs.sweep.written import WrittenSweep, worth

pytestmark = pytest.mark.usefixtures("home")


def test_the_key_that_matters_is_found_and_each_says_which_trials_counted() -> None:
    sweep = WrittenSweep("found", search={"trials": 60, "algorithm": "random"}).work(60)
    found = importances(sweep.spec, sweep.study.trials)
    assert found is not None and found == importances(sweep.spec, sweep.study.trials)
    by_key = {one.key: one for one in found}
    assert found[0].key == "optimizer.lr" and (found[0].share or 0) > 0.8
    whole = [trial for trial in sweep.study.trials if trial.outcome is Outcome.SUCCEEDED]
    assert by_key["optimizer.lr"].trials == len(whole) == 48
    decay = by_key["optimizer.weight_decay"]
    assert decay.where == {"optimizer.name": "adamw"}
    assert decay.trials == sum(trial.values["optimizer.name"] == "adamw" for trial in whole)
    shares = [one.share for one in found if not one.where]
    assert sum(share for share in shares if share is not None) == pytest.approx(1.0)


def test_where_early_stopping_left_too_few_all_are_compared_where_all_were_measured() -> None:
    sweep = WrittenSweep("stopped", search={"trials": 40, "algorithm": "random"})
    for at in range(30):
        trial = sweep.begin()
        if at % 6 == 0:
            # What it comes to in the end says nothing of its keys.
            sweep.study.report(trial.number, 1, worth(trial.values, 1))
            sweep.study.end(trial.number, Outcome.SUCCEEDED, objectives=[0.5])
        else:
            sweep.end(trial, Outcome.PRUNED)
    found = importances(sweep.spec, sweep.study.trials)
    assert found is not None and found[0].key == "optimizer.lr" and (found[0].share or 0) > 0.5
    assert {(one.step, one.trials) for one in found if not one.where} == {(1, 30)}


def test_each_objective_has_its_own() -> None:
    objectives = [{"metric": "val/loss"}, {"metric": "val/ece"}]
    sweep = WrittenSweep("two", objective=objectives, search={"trials": 40, "algorithm": "random"}).work(40)
    first, second = (importances(sweep.spec, sweep.study.trials, objective=at) for at in range(2))
    assert first is not None and second is not None
    assert (first[0].key, second[0].key) == ("optimizer.lr", "architecture.dropout")


def test_nothing_is_said_of_too_few_trials_nor_of_those_that_are_alike() -> None:
    sweep = WrittenSweep("few")
    for _ in range(FEWEST - 1):
        sweep.end(sweep.begin())
    assert importances(sweep.spec, sweep.study.trials) is None
    sweep.end(sweep.begin())
    found = importances(sweep.spec, sweep.study.trials)
    assert found is not None and {one.key for one in found if one.where} == {"optimizer.weight_decay"}
    assert next(one for one in found if one.where).share is None, "fewer trials than that have the choice"
    for trial in sweep.study.trials:
        trial.objectives = [1.0]
    alike = importances(sweep.spec, sweep.study.trials)
    assert alike is not None and {one.share for one in alike} == {None}


def test_of_very_many_trials_some_count() -> None:
    sweep = WrittenSweep("many")
    trial = sweep.begin()
    many = [
        Trial(
            number=at,
            values={**trial.values, "optimizer.lr": 1e-4 * 1000 ** (at / 999)},
            outcome=Outcome.SUCCEEDED,
            objectives=worth({**trial.values, "optimizer.lr": 1e-4 * 1000 ** (at / 999)}, 1),
        )
        for at in range(1000)
    ]
    found = importances(sweep.spec, many)
    assert found is not None and found[0].key == "optimizer.lr" and found[0].trials == MOST
