"""Spaces: what is drawn lies within, stands for a value and back, and grids and corners reach every choice."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from forgeline_jobs.sweep.space import Dimension, Space, all_keys, corners, draws, product, suggest

SPACE = TypeAdapter(Space).validate_python(
    {
        "optimizer.lr": {"log_uniform": [1e-4, 1e-1]},
        "architecture.name": {
            "choice": {"lenet": {"architecture.dropout": {"uniform": [0, 0.5]}}, "resnet18": {}},
        },
        "data.batch_size": {"choice": [32, 64]},
        "trainer.epochs": {"int": [1, 3]},
    }
)

ends = st.floats(1e-6, 1e6).filter(math.isfinite)
ranges = st.tuples(ends, ends).filter(lambda pair: pair[0] < pair[1]).map(list)
whole = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)).filter(lambda pair: pair[0] < pair[1]).map(list)
dimensions = st.one_of(
    ranges.map(lambda pair: {"uniform": pair}),
    ranges.map(lambda pair: {"log_uniform": pair}),
    whole.map(lambda pair: {"int": pair}),
    whole.map(lambda pair: {"log_int": pair}),
    st.tuples(st.floats(-10, 10), st.floats(0.01, 10)).map(lambda pair: {"normal": list(pair)}),
    st.lists(st.one_of(st.integers(), st.text(), st.booleans()), min_size=1, max_size=5, unique_by=repr).map(
        lambda options: {"choice": options}
    ),
).map(Dimension.model_validate)


def drawn(space: Space, seed: int = 0) -> tuple[dict[str, Any], optuna.Trial]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return suggest(space, trial), trial


@given(dimensions, st.integers(0, 2**31))
def test_a_draw_stands_for_a_value_of_the_dimension_and_back(dimension: Dimension, seed: int) -> None:
    values, trial = drawn({"key": dimension}, seed)
    back = dimension.drawn(values["key"])
    if dimension.normal is None:
        assert back == trial.params["key"]
    else:
        assert back == pytest.approx(trial.params["key"], abs=1e-9)
    if dimension.kind != "choice":
        low, high = dimension.ends
        assert low - 1e-9 <= values["key"] <= high + 1e-9


@given(dimensions, st.integers(1, 7))
@example(Dimension(log_uniform=(1e-6, 1.0000000000000002e-6)), 1)  # whose logarithms are rounded
def test_a_grid_lies_within_and_begins_and_ends_at_the_ends(dimension: Dimension, points: int) -> None:
    values = dimension.grid(points)
    assert values
    for value in values:
        dimension.drawn(value)
    if dimension.kind in ("uniform", "log_uniform") and points > 1:
        assert (values[0], values[-1]) == dimension.ends and len(values) == points


@given(dimensions)
def test_it_is_written_as_it_was_given(dimension: Dimension) -> None:
    written = dimension.model_dump(mode="json", by_alias=True)
    assert len(written) == 1
    assert Dimension.model_validate(written) == dimension


def test_a_choice_brings_its_own_keys_and_no_other_does() -> None:
    seen = {values["architecture.name"]: set(values) for values, _ in (drawn(SPACE, seed) for seed in range(20))}
    common = {"optimizer.lr", "architecture.name", "data.batch_size", "trainer.epochs"}
    assert seen == {"lenet": common | {"architecture.dropout"}, "resnet18": common}


def test_corners_reach_every_choice_and_both_ends_of_every_range() -> None:
    found = list(corners(SPACE))
    for key, dimension in all_keys(SPACE):
        assert {values[key] for values in found if key in values} >= set(dimension.extremes())
    for values in found:
        assert set(draws(SPACE, values)) == set(values)


def test_a_grid_has_every_combination_once() -> None:
    found = list(product(SPACE, 2))
    # Two rates, two ends of three epochs, two batch sizes; two dropouts of one architecture and none of the other.
    assert len(found) == 2 * 2 * 2 * (2 + 1)
    assert len({tuple(sorted(values.items(), key=repr)) for values in found}) == len(found)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"optimizer.lr": 1.0}, "optimizer.lr: got 1.0; allowed: 0.0001 to 0.1"),
        ({"optimizer.lr": "fast"}, "optimizer.lr: got 'fast'; expected a number"),
        ({"trainer.epochs": 1.5}, "trainer.epochs: got 1.5; allowed: whole numbers from 1 to 3"),
        ({"architecture.name": "vgg"}, 'architecture.name: got \'vgg\'; allowed: "lenet", "resnet18"'),
        (
            {"architecture.name": "resnet18", "architecture.dropout": 0.1},
            "architecture.dropout: it is not in the space",
        ),
        ({"optimizer.lrr": 0.1}, "optimizer.lrr: it is not in the space"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(")):
        draws(SPACE, values)


@pytest.mark.parametrize(
    ("dimension", "said"),
    [
        ({}, "got nothing; a key has exactly one of uniform"),
        ({"uniform": [0, 1], "choice": [1]}, "got uniform and choice"),
        ({"uniform": [1, 0]}, "the lower number comes first"),
        ({"uniform": [0, float("inf")]}, "finite number"),
        ({"log_uniform": [0, 1]}, "both ends of a logarithmic range are more than 0"),
        ({"log_int": [-1, 4]}, "both ends of a logarithmic range are more than 0"),
        ({"int": [0.5, 4]}, "valid integer"),
        ({"normal": [0, 0]}, "the second number is the deviation"),
        ({"choice": []}, "empty choice"),
        ({"choice": [1, 1]}, "has 1 twice"),
        ({"choise": [1, 2]}, "choise"),
    ],
)
def test_a_dimension_that_means_nothing_is_refused(dimension: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Dimension.model_validate(dimension)
