"""Constraints: arithmetic and comparisons over keys, and nothing that could do anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline_jobs.sweep.constraints import Constraint


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a.b * c <= 12", {"a.b": 3, "c": 4}, True),
        ("a.b * c <= 12", {"a.b": 3, "c": 5}, False),
        ("1 < a < 3", {"a": 2}, True),
        ("1 < a < 3", {"a": 3}, False),
        ("name != 'lenet' or dropout < 0.3", {"name": "lenet", "dropout": 0.4}, False),
        ("not a == -1", {"a": -1}, False),
        ("a % 2 == 0 and a // 2 > 3", {"a": 8}, True),
    ],
)
def test_it_holds_as_arithmetic_says(text: str, values: dict[str, Any], holds: bool) -> None:
    assert Constraint(text).holds(values) is holds


def test_a_key_that_a_trial_does_not_have_makes_its_comparison_hold() -> None:
    assert Constraint("architecture.dropout < 0.3").holds({})
    assert not Constraint("architecture.dropout < 0.3 and a > 1").holds({"a": 0})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a <",
        "__import__('os')",
        "a.b()",
        "[a]",
        "a if b else c",
        "a ** 99999",
        "lambda: 1",
        "a in (1, 2)",
        "f'{a}'",
    ],
)
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: keys, numbers"):
        Constraint(text)


def test_a_wrong_key_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="names optimizer.lrr, .*did you mean `optimizer.lr`"):
        Constraint("optimizer.lrr < 1").check_keys(["optimizer.lr", "data.batch_size"])


def test_what_cannot_be_computed_is_told_with_its_values() -> None:
    with pytest.raises(ValueError, match="cannot be computed with a 'x', b 0"):
        Constraint("a / b > 1").holds({"a": "x", "b": 0})


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(-100, 100))
def test_it_agrees_with_python(a: int, b: int, c: int) -> None:
    assert Constraint("a + b * 2 <= c - 1 or not b > a").holds({"a": a, "b": b, "c": c}) == (
        a + b * 2 <= c - 1 or not b > a
    )
