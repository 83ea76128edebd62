"""What is told of trials while they run: a table at most once a second, and a line for a change."""

from __future__ import annotations

from typing import Any, cast

import pytest

from forgeline import metrics
from forgeline.cli.progress import PlainDisplay
from forgeline.spec.loading import load
from forgeline_jobs.sweep.live import MOST_ROWS, Telling, maximised
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Outcome, Trial


def sweep(**given: Any) -> SweepSpec:
    loaded = load(
        {
            "kind": "sweep",
            "name": "wine-sweep",
            "train": {"kind": "train", "architecture": {"name": "mlp"}, "data": {"name": "wine"}},
            "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}, "optimizer.name": {"choice": ["adamw", "sgd"]}},
            "search": {"trials": 40},
            "objective": {"metric": "val/accuracy"},
            **given,
        }
    )
    return cast(SweepSpec, loaded.spec)


class Told:
    """The events and a clock that stands still until it is set."""

    def __init__(self, spec: SweepSpec, trials: list[Trial]) -> None:
        self.events: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.telling = Telling(self._take, spec, trials, clock=lambda: self.seconds)

    def _take(self, event: str, /, **fields: Any) -> None:
        self.events.append({"event": event, "time": 1000 * self.seconds, **fields})

    @property
    def tables(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "table"]

    @property
    def lines(self) -> list[str]:
        written: list[str] = []
        display = PlainDisplay(written.append)
        for event in self.events:
            display.show(event)
        return written


def trial(number: int, score: float | None = None, outcome: Outcome = Outcome.SUCCEEDED) -> Trial:
    values = {"optimizer.lr": 0.01, "optimizer.name": "sgd"}
    objectives = None if score is None else [score]
    return Trial(number=number, values=values, outcome=outcome, objectives=objectives)


def test_a_table_is_told_at_most_once_a_second_and_misses_nothing_at_the_end() -> None:
    trials = [trial(0, outcome=Outcome.OPEN)]
    told = Told(sweep(), trials)
    told.telling.changed(trials[0], "starting")
    assert [table["rows"] for table in told.tables] == [[[0, 0.01, "sgd", None, None, "starting"]]]
    assert told.tables[0]["columns"] == ["trial", "lr", "name", "val/accuracy", "epoch", "state"]
    trials[0].reports[1] = [0.5]
    told.seconds = 0.9
    told.telling.changed(trials[0], "running")
    told.telling.tick()
    assert len(told.tables) == 1
    told.seconds = 1.1
    told.telling.tick()
    told.telling.tick()
    assert [table["rows"] for table in told.tables[1:]] == [[[0, 0.01, "sgd", 0.5, 1, "running"]]]
    trials[0].outcome, trials[0].objectives = Outcome.SUCCEEDED, [0.75]
    told.telling.changed(trials[0], "succeeded")
    told.telling.close()
    told.telling.close()
    assert [table["rows"] for table in told.tables[2:]] == [[[0, 0.01, "sgd", 0.75, 1, "succeeded"]]]


def test_a_long_sweep_shows_the_best_and_those_under_way() -> None:
    trials = [trial(number, number / 100) for number in range(30)]
    trials += [trial(30, outcome=Outcome.OPEN), trial(31, outcome=Outcome.OPEN), trial(32, outcome=Outcome.FAILED)]
    trials[31].reports[2] = [0.999]
    told = Told(sweep(), trials)
    told.telling.changed(trials[31], "running")
    rows = told.tables[0]["rows"]
    assert [row[0] for row in rows] == [31, *range(29, 29 - MOST_ROWS, -1), 30]
    assert told.tables[0]["title"] == "31 of 40 trials have ended; 17 of 33 are shown"


def test_a_log_gets_a_line_for_each_start_and_end_and_measurements_now_and_then() -> None:
    trials = [trial(0, outcome=Outcome.OPEN)]
    told = Told(sweep(), trials)
    told.telling.changed(trials[0], "starting")
    for second in range(25):
        told.seconds = float(second)
        trials[0].reports[second + 1] = [second / 100]
        told.telling.changed(trials[0], "running")
    trials[0].outcome, trials[0].objectives = Outcome.SUCCEEDED, [0.24]
    told.telling.changed(trials[0], "succeeded")
    trials.append(trial(1, outcome=Outcome.FAILED))
    trials[1].message = "the loss is not a number"
    told.telling.changed(trials[1], "failed")
    assert told.lines == [
        "trial 0 of 40: starting, optimizer.lr 0.01, optimizer.name sgd",
        "trial 0 of 40: running at 11 ep, val/accuracy 0.1",
        "trial 0 of 40: running at 21 ep, val/accuracy 0.2",
        "trial 0 of 40: succeeded at 25 ep, val/accuracy 0.24, the best so far",
        "trial 1 of 40: failed, the loss is not a number",
    ]


def test_a_value_that_is_no_number_is_told_as_a_word() -> None:
    trials = [trial(0, float("nan"), Outcome.PRUNED)]
    told = Told(sweep(), trials)
    told.telling.changed(trials[0], "pruned")
    assert told.tables[0]["rows"][0][3] == "nan"


def test_a_metric_goes_the_same_way_in_every_task() -> None:
    """Which is why a finished sweep is shown without reading its data."""
    ways: dict[str, set[bool]] = {}
    for known in metrics.METRICS.values():
        for name, info in known.items():
            ways.setdefault(name, set()).add(info.higher_is_better)
    assert [name for name, each in ways.items() if len(each) > 1] == []


@pytest.mark.parametrize(
    ("objective", "up"),
    [
        ({"metric": "val/loss"}, [False]),
        ({"metric": "val/loss", "mode": "max"}, [True]),
        ([{"metric": "val/f1[a]"}, {"metric": "val/loss"}], [True, False]),
    ],
)
def test_the_way_of_an_objective(objective: Any, up: list[bool]) -> None:
    assert maximised(sweep(objective=objective)) == up
