"""Trials that copy each other: who copies whom, with which values, and that a killed sweep decides the same again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline_jobs.sweep.population import Population, perturbed
from forgeline_jobs.sweep.population_study import PopulationStudy
from forgeline_jobs.sweep.space import Dimension
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Copy, Outcome, Trial, course, read
from tests.jobs.sweep.kept import Kept

LENGTH, INTERVAL = 12, 3


def spec(algorithm: str = "pbt", *, trials: int = 8, **changed: Any) -> SweepSpec:
    fields: dict[str, Any] = {
        "kind": "sweep",
        "name": "rates",
        "train": {"architecture": {"name": "mlp"}},
        "space": {
            "optimizer.lr": {"log_uniform": [1e-4, 1]},
            "optimizer.weight_decay": {"uniform": [0, 0.5]},
        },
        "search": {"algorithm": algorithm, "trials": trials, "interval": f"{INTERVAL}ep", "seed": 5},
        "objective": {"metric": "val/loss"},
    }
    return SweepSpec.model_validate(fields | changed)


def new(spec: SweepSpec, journal: Kept, *, length: int = LENGTH) -> PopulationStudy:
    return PopulationStudy(spec, journal, maximise=[False], length=length)


class Training:
    """What training does to trials' weights: a number that falls the faster the nearer the rate is to 0.03."""

    def __init__(self, length: int = LENGTH) -> None:
        self.length = length
        self.weights: dict[int, dict[int, float]] = {}  # by trial, after each step

    def step(self, trial: Trial) -> float:
        own = self.weights.setdefault(trial.number, {0: 10.0})
        step = trial.step + 1
        start = next((copy for copy in trial.copies if copy.step == trial.step), None)
        before = own[trial.step] if start is None else self.weights[start.source][trial.step]
        off = abs(math.log10(trial.values["optimizer.lr"] / 0.03))
        own[step] = before * (0.7 + 0.1 * min(off, 3.5))
        return own[step]


def work(study: PopulationStudy, training: Training, *, until: Callable[[], bool] = lambda: False) -> None:
    """Train the population, one interval of a trial after another."""
    while not until():
        ready = [trial for trial in study.open_trials() if not study.waits(trial.number)]
        trial = next(iter(ready), None) or study.ask()
        if trial is None:
            return
        while not study.waits(trial.number) and trial.outcome is Outcome.OPEN and not until():
            if trial.step == training.length:
                study.end(trial.number, Outcome.SUCCEEDED, objectives=trial.reports[trial.step])
            else:
                decided = study.decided
                study.report(trial.number, trial.step + 1, [training.step(trial)])
                if study.decided != decided:
                    break


@pytest.mark.parametrize("algorithm", ["pbt", "pb2"])
def test_killed_after_any_entry_it_goes_on_as_it_would_have(algorithm: str) -> None:
    trials = 6
    whole = Kept()
    work(new(spec(algorithm, trials=trials), whole), Training())
    generations = [entry for entry in whole.entries if entry["entry"] == "generation"]
    assert [entry["step"] for entry in generations] == [3, 6, 9]
    assert all(len(entry["copies"]) == 2 for entry in generations)
    for cut in range(0, len(whole.entries), 1 if algorithm == "pbt" else 7):
        again, training = Kept(whole.entries[:cut]), Training()
        for trial in read(again.entries):  # its runs' checkpoints are there
            training.weights[trial.number] = {0: 10.0} | {step: told[0] for step, told in trial.reports.items()}
        work(new(spec(algorithm, trials=trials), again), training)
        assert again.entries == whole.entries, cut


def test_the_worst_copy_the_best_when_all_have_trained_as_far() -> None:
    study = new(spec(), Kept())
    trials = [study.ask() for _ in range(8)]
    assert study.ask() is None and all(trials)
    for number in range(8):
        for step in range(1, INTERVAL + 1):
            assert not study.waits(number)
            study.report(number, step, [float(number)])
        assert study.decided == (INTERVAL if number == 7 else 0)
    assert {copy.trial for copy in study.copies} == {6, 7}
    assert {copy.source for copy in study.copies} <= {0, 1}
    for copy in study.copies:
        trial = study.trials[copy.trial]
        assert trial.values == copy.values != trial.begun
        assert not study.waits(copy.trial)


def test_a_trial_that_failed_is_waited_for_no_more_and_copied_by_none() -> None:
    study = new(spec(trials=4), Kept())
    for _ in range(4):
        study.ask()
    for number in range(3):
        for step in range(1, INTERVAL + 1):
            study.report(number, step, [float(number)])
    assert study.decided == 0 and all(study.waits(number) for number in range(3))
    study.end(3, Outcome.FAILED, message="its own fault")
    assert study.decided == INTERVAL
    assert [(copy.trial, copy.source) for copy in study.copies] == [(2, 0)]


@pytest.mark.parametrize("algorithm", ["pbt", "pb2"])
def test_where_all_measure_no_number_it_goes_on(algorithm: str) -> None:
    journal = Kept()
    search = {"algorithm": algorithm, "trials": 4, "interval": "1ep"}
    study = new(spec(algorithm, search=search), journal)
    assert all(study.ask() for _ in range(4))
    for step in range(1, 6):
        for number in range(4):
            study.report(number, step, [float(number) / step if step < 4 else math.nan])
    assert [copy.source for copy in study.copies] == [0] and study.decided == 5
    assert new(spec(algorithm, search=search), Kept(journal.entries)).decided == 5


def test_no_number_is_the_worst_and_is_never_copied() -> None:
    study = new(spec(trials=4, search={"algorithm": "pbt", "trials": 4, "interval": "1ep", "quantile": 0.5}), Kept())
    assert all(study.ask() for _ in range(4))
    for number, value in enumerate((math.nan, 1.0, math.nan, 2.0)):
        study.report(number, 1, [value])
    assert {copy.trial for copy in study.copies} == {0, 2} and {copy.source for copy in study.copies} <= {1, 3}


@pytest.mark.parametrize("algorithm", ["pbt", "pb2"])
def test_copies_satisfy_the_constraints(algorithm: str) -> None:
    bound = spec(algorithm, constraints=["optimizer.lr * 1 < 0.05"])
    journal = Kept()
    work(new(bound, journal), Training())
    copied = [copy for entry in journal.entries if entry["entry"] == "generation" for copy in entry["copies"]]
    assert copied and all(copy["values"]["optimizer.lr"] < 0.05 for copy in copied)


@pytest.mark.parametrize("algorithm", ["pbt", "pb2"])
def test_a_population_ends_better_than_the_same_trials_alone(algorithm: str) -> None:
    """The median of five seeds of the best of eight trials."""
    together, alone = [], []
    for seed in range(5):
        search = {"algorithm": algorithm, "trials": 8, "interval": "3ep", "seed": seed}
        study = new(spec(algorithm, search=search), Kept())
        work(study, Training())
        together.append(np.mean([trial.reports[LENGTH][0] for trial in study.trials]))
        begun = [Trial(number=trial.number, values=trial.begun) for trial in study.trials]
        training = Training()
        for trial in begun:
            for step in range(1, LENGTH + 1):
                trial.reports[step] = [training.step(trial)]
        alone.append(np.mean([trial.reports[LENGTH][0] for trial in begun]))
    assert np.median(together) < np.median(alone)


def test_pb2_learns_which_values_improve_most() -> None:
    """The rates that its last copies try, over six seeds; uniform draws of the four decades are 1.1 decades off."""
    off = []
    for seed in range(6):
        search = {"algorithm": "pb2", "trials": 8, "interval": "3ep", "seed": seed}
        journal = Kept()
        work(new(spec("pb2", search=search), journal, length=30), Training(30))
        generations = [entry for entry in journal.entries if entry["entry"] == "generation"]
        tried = [copy["values"]["optimizer.lr"] for entry in generations[-2:] for copy in entry["copies"]]
        off.append(np.mean([abs(math.log10(rate / 0.03)) for rate in tried]))
    assert np.median(off) < 0.9


def test_a_course_goes_back_through_the_trials_that_were_copied() -> None:
    trials = [Trial(number=number, values={"x": number}, begun={"x": number}) for number in range(3)]
    for copy in (
        Copy(trial=1, source=0, values={"x": 10}, step=2),
        Copy(trial=2, source=1, values={"x": 20}, step=4),
        Copy(trial=1, source=0, values={"x": 30}, step=4),
    ):
        trials[copy.trial].copies.append(copy)
    assert course(trials, 0) == [(0, {"x": 0})]
    assert course(trials, 1) == [(0, {"x": 0}), (4, {"x": 30})]
    assert course(trials, 2) == [(0, {"x": 0}), (2, {"x": 10}), (4, {"x": 20})]


dimensions = st.one_of(
    st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3)).map(lambda at: {"uniform": [at[0], at[0] + at[1]]}),
    st.tuples(st.floats(1e-6, 1), st.floats(1.1, 1e4)).map(lambda at: {"log_uniform": [at[0], at[0] * at[1]]}),
    st.tuples(st.integers(-50, 50), st.integers(1, 100)).map(lambda at: {"int": [at[0], at[0] + at[1]]}),
    st.tuples(st.floats(-10, 10), st.floats(1e-3, 10)).map(lambda at: {"normal": list(at)}),
    st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True).map(lambda values: {"choice": values}),
)


@given(dimensions, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_what_is_perturbed_is_a_value_of_its_dimension(given: dict[str, Any], share: float, seed: int) -> None:
    dimension = Dimension.model_validate(given)
    rng = np.random.default_rng(seed)
    value = dimension.at(share)
    for _ in range(5):
        value = perturbed(dimension, value, rng)
        assert dimension.value(dimension.drawn(value)) == pytest.approx(value)  # `drawn` refuses what is none


@given(dimensions.filter(lambda given: "choice" not in given and "int" not in given), st.floats(0.01, 0.99))
def test_a_share_of_a_range_and_back(given: dict[str, Any], share: float) -> None:
    dimension = Dimension.model_validate(given)
    assert dimension.share(dimension.at(share)) == pytest.approx(share, abs=1e-6)


def test_a_population_of_one_copies_nobody() -> None:
    one = Trial(number=0, values={"optimizer.lr": 0.1}, reports={1: [1.0]})
    assert Population(spec(), maximise=False, known={}).copies([one], 1) == []
