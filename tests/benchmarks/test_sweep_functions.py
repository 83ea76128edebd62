"""The functions that the study of a sweep is held against, and how it is compared."""

from __future__ import annotations

import pytest

from benchmarks import sweep_functions
from benchmarks.sweep_functions import FUNCTIONS, Function, OurStudy, PlainOptuna, identical, searched


def silent(text: str) -> None:
    """Nobody reads it here."""


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_suggestions_are_those_of_optuna_alone(function: Function) -> None:
    row = identical(silent, function, trials=20, seeds=1)
    assert (row["compared"], row["differences"], row["met"]) == (20, 0, True)


def test_another_seed_suggests_something_else() -> None:
    function = FUNCTIONS[0]
    one, other = (searched(OurStudy(function, seed, 5), function, trials=5, at_once=1, seed=0) for seed in (0, 1))
    assert one != other


def test_several_at_once_are_told_in_the_order_in_which_they_end() -> None:
    function = FUNCTIONS[0]
    told: list[int] = []

    class Listening(PlainOptuna):
        def tell(self, number: int, value: float) -> None:
            told.append(number)
            super().tell(number, value)

    searched(Listening(function, 0), function, trials=12, at_once=4, seed=0)
    assert sorted(told) == list(range(12))
    assert told != sorted(told)
    assert max(number - at for at, number in enumerate(told)) < 4, "no more than four are under way"


def test_no_point_is_better_than_the_least_value() -> None:
    for function in FUNCTIONS:
        points = searched(PlainOptuna(function, 0), function, trials=60, at_once=1, seed=0)
        best = min(map(function.value, points))
        assert function.least <= best < function.least + 2
    assert sweep_functions.branin({"x": 9.42478, "y": 2.475}) == pytest.approx(0.397887, abs=1e-5)
