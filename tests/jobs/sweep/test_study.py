"""The mind of a sweep: killed after any entry of its journal, it goes on as it would have."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import optuna
import pytest

from forgeline.errors import RunFailed
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Study
from forgeline_jobs.sweep.trials import Outcome, Trial, best, ranked, read
from tests.jobs.sweep.kept import Kept

ALGORITHMS = ["tpe", "random", "quasi_random", "cmaes", "bohb", "grid", "gp"]


def spec(algorithm: str = "tpe", trials: int = 14, **changed: Any) -> SweepSpec:
    fields: dict[str, Any] = {
        "kind": "sweep",
        "name": "curve",
        "train": {"architecture": {"name": "mlp"}},
        "space": {
            "x": {"uniform": [-5, 5]},
            "shape": {"choice": {"round": {}, "bent": {"y": {"log_uniform": [0.1, 10]}}}},
        },
        "search": {"algorithm": algorithm, "trials": trials, "seed": 3, "points": 3},
        "objective": {"metric": "val/loss"},
        "stop": {"scheduler": "none" if algorithm == "bohb" else "asha", "grace": 1, "reduction": 2},
    }
    return SweepSpec.model_validate(fields | changed)


def loss(values: Mapping[str, Any], step: int) -> float:
    """A trial's curve: it falls to what its point is worth."""
    return float((values["x"] - 1) ** 2 + math.log(values.get("y", 2.0)) ** 2 + 4.0 / step)


def work(study: Study, *, until: Callable[[], bool] = lambda: False, steps: int = 4) -> None:
    """Run trials one at a time, those under way first, until there are enough or the journal is `until`."""
    while not until():
        trial = next(iter(study.open_trials()), None) or study.ask()
        if trial is None:
            return
        for step in range(1, steps + 1):
            if until():
                return
            if not study.report(trial.number, step, [loss(trial.values, step)]):
                break
        else:
            if until():
                return
            study.end(trial.number, Outcome.SUCCEEDED, objectives=[loss(trial.values, steps)])


def new(spec: SweepSpec, journal: Kept, *, maximise: bool = False, **given: Any) -> Study:
    taught = given.pop("taught", ())
    return Study(
        spec,
        journal,
        maximise=[maximise] * len(spec.objectives),
        taught=lambda: taught,
        again=spec.search.again,
        **given,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_killed_after_any_entry_it_goes_on_as_it_would_have(algorithm: str) -> None:
    trials = 8 if algorithm == "gp" else 14
    whole = Kept()
    work(new(spec(algorithm, trials), whole))
    assert {entry["entry"] for entry in whole.entries} == {"asked", "reported", "ended"}
    every = 9 if algorithm == "gp" else 1
    for cut in range(0, len(whole.entries), every):
        again = Kept(whole.entries[:cut])
        if again.entries and cut in whole.within:
            continue  # written at once, with the entry before
        work(new(spec(algorithm, trials), again))
        assert again.entries == whole.entries


def test_the_report_that_stops_a_trial_is_written_with_its_end() -> None:
    whole = Kept()
    work(new(spec(), whole))
    stopped = [at for at, entry in enumerate(whole.entries) if entry.get("outcome") == "pruned"]
    assert stopped and whole.within == set(stopped)


def test_one_at_a_time_the_suggestions_are_those_of_optuna_alone() -> None:
    plain = spec(stop={"scheduler": "none"})
    journal = Kept()
    work(new(plain, journal))
    ours = [trial.values for trial in read(journal.entries)]
    alone = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3))

    def objective(trial: optuna.Trial) -> float:
        values: dict[str, Any] = {"x": trial.suggest_float("x", -5, 5)}
        values["shape"] = trial.suggest_categorical("shape", ["round", "bent"])
        if values["shape"] == "bent":
            values["y"] = trial.suggest_float("y", 0.1, 10, log=True)
        return loss(values, 4)

    alone.optimize(objective, n_trials=14)
    assert ours == [trial.params for trial in alone.trials]


@pytest.mark.parametrize("seed", range(3))
def test_four_at_a_time_a_resumed_sweep_goes_on_with_the_same_suggestions(seed: int) -> None:
    """Reports and ends of several trials come in an order that nobody knows before; the journal has it."""

    def shuffled(study: Study, chance: random.Random, entries: int) -> None:
        while len(journal.entries) < entries:
            while len(study.open_trials()) < 4 and study.ask() is not None:
                pass
            trial = chance.choice(study.open_trials())
            if trial.step == 4:
                study.end(trial.number, Outcome.SUCCEEDED, objectives=[loss(trial.values, 4)])
            else:
                study.report(trial.number, trial.step + 1, [loss(trial.values, trial.step + 1)])

    journal = Kept()
    study = new(spec(trials=20), journal)
    shuffled(study, random.Random(seed), 60)
    before = len(study.open_trials())
    twins = [new(spec(trials=40), Kept(journal.entries)) for _ in range(2)]
    assert [len(twin.open_trials()) for twin in twins] == [before, before]
    asked = [[twin.ask() for _ in range(3)] for twin in twins]
    assert [trial.values for trial in asked[0] if trial] == [trial.values for trial in asked[1] if trial]


def test_more_trials_are_a_longer_sweep_not_another_one() -> None:
    short, long = Kept(), Kept()
    work(new(spec(trials=6), short))
    work(new(spec(trials=12), long))
    study = new(spec(trials=12), short)
    work(study)
    assert short.entries == long.entries


def test_another_space_is_refused_with_what_to_do() -> None:
    journal = Kept()
    work(new(spec(trials=3), journal))
    other = spec(trials=3, space={"x": {"uniform": [-4, 5]}, "shape": {"choice": ["round", "bent"]}})
    with pytest.raises(RunFailed, match=r"trial 0 was .* would now be .*search\.warm_start"):
        new(other, journal)


def test_points_that_are_known_come_first() -> None:
    first = [{"x": 1.0, "shape": "bent", "y": 1.0}, {"x": 2.0}]
    journal = Kept()
    work(new(spec(search={"trials": 4, "first": first}), journal))
    trials = read(journal.entries)
    assert trials[0].values == first[0]
    assert trials[1].values["x"] == 2.0 and set(trials[1].values) >= {"x", "shape"}


def test_suggestions_satisfy_the_constraints() -> None:
    bound = spec(constraints=["x < offset", "y < 5"], trials=20)
    journal = Kept()
    work(new(bound, journal, known={"offset": 0}))
    for trial in read(journal.entries):
        assert trial.values["x"] < 0 and trial.values.get("y", 0) < 5


def test_constraints_that_nothing_satisfies_end_the_sweep() -> None:
    with pytest.raises(RunFailed, match=r"1000 suggestions in a row broke a constraint \(x > 5"):
        new(spec(constraints=["x > 5"]), Kept()).ask()


def test_an_earlier_sweep_is_learnt_from() -> None:
    """Over five seeds, its first trials are better than those of a sweep that knows nothing."""
    earlier = Kept()
    work(new(spec(trials=30), earlier))
    found: dict[str, list[float]] = {"taught": [], "untaught": []}
    for seed in range(5):
        asked = spec(trials=5, search={"trials": 5, "seed": seed})
        for name, known in (("taught", read(earlier.entries)), ("untaught", [])):
            journal = Kept()
            work(new(asked, journal, taught=known))
            found[name] += [loss(trial.values, 4) for trial in read(journal.entries)]
    assert median(found["taught"]) < median(found["untaught"])


def test_several_objectives_have_a_front() -> None:
    two = spec(
        "nsga2", trials=30, objective=[{"metric": "val/loss"}, {"metric": "val/accuracy"}], stop={"scheduler": "none"}
    )
    journal = Kept()
    study = Study(two, journal, maximise=[False, True])
    while (trial := study.ask()) is not None:
        x = trial.values["x"]
        study.end(trial.number, Outcome.SUCCEEDED, objectives=[x**2, -((x - 2) ** 2)])
    front = best(study.trials, two, maximise=[False, True])
    assert front
    for one in front:
        for other in study.trials:
            assert one.objectives is not None and other.objectives is not None
            better = other.objectives[0] < one.objectives[0] and other.objectives[1] > one.objectives[1]
            assert not better


def test_no_number_is_the_worst_of_all() -> None:
    trials = [
        Trial(number=0, values={}, outcome=Outcome.SUCCEEDED, objectives=[math.nan]),
        Trial(number=1, values={}, outcome=Outcome.SUCCEEDED, objectives=[5.0]),
        Trial(number=2, values={}, outcome=Outcome.FAILED),
        Trial(number=3, values={}, reports={1: [7.0], 2: [4.0]}),
    ]
    assert [trial.number for trial in ranked(trials, maximise=[False])] == [3, 1, 0, 2]
    assert [trial.number for trial in best(trials, spec(), maximise=[False])] == [1]


def test_a_loss_that_is_no_number_does_not_end_the_sweep() -> None:
    journal = Kept()
    study = new(spec(trials=3), journal)
    trial = study.ask()
    assert trial is not None
    if study.report(trial.number, 1, [math.nan]):
        study.end(trial.number, Outcome.SUCCEEDED, objectives=[math.nan])
    assert new(spec(trials=3), journal).ask() is not None


def test_a_trial_that_did_not_succeed_is_gone_on_with_to_its_end_when_it_is_named() -> None:
    journal = Kept()
    work(new(spec(), journal))
    number = next(trial.number for trial in read(journal.entries) if trial.outcome is Outcome.PRUNED)
    before = len(journal.entries)
    named = spec(search={"algorithm": "tpe", "trials": 14, "seed": 3, "points": 3, "again": [number, 0]})
    study = new(named, journal)
    assert [trial.number for trial in study.open_trials()] == [number], "the first has succeeded"
    assert journal.entries[before:] == [{"entry": "again", "trial": number}]
    for cut in (before + 1, before + 2):  # killed again right after, and once more
        again = Kept(journal.entries[:cut])
        work(new(named, again))
        trial = read(again.entries)[number]
        assert (trial.outcome, trial.step, trial.objectives) == (Outcome.SUCCEEDED, 4, [loss(trial.values, 4)])
        assert again.entries[-1]["trial"] == number
        work(new(named, again))
        assert new(named, again).is_full() and not new(named, again).open_trials()


def test_a_grid_has_only_points_that_satisfy_the_constraints() -> None:
    numbers = {"choice": [1, 2, 3]}
    bound = spec("grid", trials=20, space={"a": numbers, "b": numbers}, constraints=["a <= b"], stop={})
    study = new(bound, Kept())
    points = [(trial.values["a"], trial.values["b"]) for trial in iter(study.ask, None)]
    assert points == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)] and study.is_full()


@pytest.mark.parametrize("algorithm", ["grid", "tpe"])
def test_a_sweep_resumed_with_fewer_trials_than_it_has_asks_for_no_more(algorithm: str) -> None:
    journal = Kept()
    work(new(spec(algorithm, trials=6), journal))
    study = new(spec(algorithm, trials=3), journal)
    assert len(study.trials) == 6 and study.ask() is None


def test_a_point_that_is_given_in_part_is_kept_where_constraints_are_tight() -> None:
    whole = {"int": [0, 10**6]}
    tight = spec(
        "random",
        space={"a": whole, "b": {"int": [0, 50]}},
        constraints=["a == 7 or a < 0", "b < 2"],
        search={"algorithm": "random", "trials": 1, "first": [{"a": 7}]},
        stop={},
    )
    trial = new(tight, Kept()).ask()
    assert trial is not None and trial.values["a"] == 7 and trial.values["b"] < 2


def test_what_was_learnt_from_an_earlier_sweep_is_written_down_and_not_asked_for_again() -> None:
    earlier = Kept()
    work(new(spec(trials=12), earlier))
    journal = Kept()
    new(spec(trials=6), journal, taught=read(earlier.entries)).ask()
    assert journal.entries[0]["entry"] == "taught"

    def gone() -> list[Trial]:
        raise AssertionError("the earlier sweep may have other trials by now")

    again = Study(spec(trials=6), Kept(journal.entries), maximise=[False], taught=gone)
    assert len(again.trials) == 1


def test_trials_are_gone_on_with_only_when_that_is_asked_for() -> None:
    journal = Kept()
    work(new(spec(), journal))
    number = next(trial.number for trial in read(journal.entries) if trial.outcome is Outcome.PRUNED)
    named = spec(search={"algorithm": "tpe", "trials": 14, "seed": 3, "points": 3, "again": [number]})
    assert not Study(named, journal, maximise=[False]).open_trials()


@pytest.mark.parametrize("algorithm", ["tpe", "random", "nsga2", "bohb"])
def test_a_key_that_several_choices_bring_has_a_dimension_in_each(algorithm: str) -> None:
    space = {
        "arch": {
            "choice": {
                "small": {"width": {"choice": [8, 16]}, "lr": {"uniform": [0, 1]}},
                "large": {"width": {"int": [64, 128]}},
            }
        }
    }
    objective = [{"metric": "val/loss"}, {"metric": "val/ece"}] if algorithm == "nsga2" else {"metric": "val/loss"}
    both = spec(algorithm, trials=20, space=space, objective=objective, stop={})
    journal = Kept()
    study = new(both, journal)
    for trial in iter(study.ask, None):
        width = trial.values["width"]
        assert width in (8, 16) if trial.values["arch"] == "small" else 64 <= width <= 128
        study.end(trial.number, Outcome.SUCCEEDED, objectives=[float(width)] * len(both.objectives))
    assert {trial.values["arch"] for trial in study.trials} == {"small", "large"}
    assert [trial.values for trial in new(both, journal).trials] == [trial.values for trial in study.trials]
    taught = new(both, Kept(), taught=study.trials)
    assert taught.ask() is not None


BOUND = [{"metric": "val/size", "at_most": 0.0}]


def bound_work(study: Study) -> None:
    """Trials whose loss falls with x, and whose size grows with it."""
    while (trial := study.ask()) is not None:
        x = trial.values["x"]
        study.end(trial.number, Outcome.SUCCEEDED, objectives=[-x], metrics={"val/loss": -x, "val/size": x})


@pytest.mark.parametrize("algorithm", ["tpe", "gp", "random"])
def test_the_best_trial_keeps_what_is_required(algorithm: str) -> None:
    bound = spec(algorithm, trials=24, require=BOUND, stop={})
    study = new(bound, Kept())
    bound_work(study)
    [found] = best(study.trials, bound, maximise=[False])
    assert found.values["x"] == max(trial.values["x"] for trial in study.trials if trial.values["x"] <= 0)
    free = new(spec(algorithm, trials=24, stop={}), Kept())
    bound_work(free)
    near = [sum(trial.values["x"] <= 1 for trial in each.trials[12:]) for each in (study, free)]
    assert near[0] > near[1] if algorithm != "random" else near[0] == near[1], "the searches that learn heed it"


def test_what_was_required_of_an_earlier_sweep_is_known_as_well() -> None:
    bound = spec(trials=24, require=BOUND, stop={})
    earlier = Kept()
    bound_work(new(bound, earlier))
    found = {}
    for name, required in (("required", BOUND), ("free", [])):
        after = spec(trials=8, require=required, stop={})
        study = new(after, Kept(), taught=read(earlier.entries))
        bound_work(study)
        found[name] = median(trial.values["x"] for trial in study.trials)
    assert found["required"] < found["free"]


def test_where_nothing_was_measured_a_requirement_does_not_hold() -> None:
    bound = spec(require=BOUND)
    trials = [
        Trial(number=0, values={}, outcome=Outcome.SUCCEEDED, objectives=[1.0], metrics={"val/size": math.nan}),
        Trial(number=1, values={}, outcome=Outcome.SUCCEEDED, objectives=[1.0]),
        Trial(number=2, values={}, outcome=Outcome.SUCCEEDED, objectives=[1.0], metrics={"val/size": 0.1}),
    ]
    assert best(trials, bound, maximise=[False]) == []
