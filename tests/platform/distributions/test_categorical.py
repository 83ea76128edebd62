"""Counts of categories: the most frequent by name, the rest together, exact whichever way they are merged."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forgeline.distributions import CategoricalReference
from forgeline.distributions.categorical import MOST_CATEGORIES

values = st.lists(st.sampled_from(["", "a", "b", "c", "new", "newer"]), max_size=60)


@given(st.lists(values, min_size=1, max_size=20))
def test_counts_of_parts_add_up_to_the_whole(parts: list[list[str]]) -> None:
    reference = CategoricalReference.of(["a", "b", "c"], [5, 3, 1])
    whole = reference.count(Counter(value for part in parts for value in part))
    assert reduce(add, [reference.count(Counter(part)) for part in reversed(parts)]) == whole
    assert whole.rows == sum(map(len, parts))


def test_rare_categories_are_counted_together() -> None:
    names = [f"c{number}" for number in range(MOST_CATEGORIES + 50)]
    reference = CategoricalReference.of(names, [2] * MOST_CATEGORIES + [1] * 50)
    assert len(reference.counts) == MOST_CATEGORIES and reference.other == 50
    counted = reference.count({names[0]: 3, names[-1]: 2, "never seen": 1, "": 4})
    assert (counted.known[0], counted.known.sum(), counted.other, counted.missing) == (3, 3, 3, 4)
    assert counted.known.dtype == np.int64 and counted.known.nbytes + 16 < 1024


def test_counts_of_other_categories_do_not_add_up() -> None:
    one, other = CategoricalReference.of("ab", [1, 1]), CategoricalReference.of("abc", [1, 1, 1])
    with pytest.raises(ValueError, match="2 and of 3 categories"):
        one.count({"a": 1}) + other.count({"a": 1})
    assert one.count({"a": 1}) != one.count({"b": 1})
    assert one.count({}) != "counts"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": {"a": -1}}, "greater than or equal to 0"),
        ({"counts": {"a": True}}, "integer"),
        ({"counts": {"a" * 70_000: 1}}, "at most 65536 characters"),
        ({"counts": {str(i): 1 for i in range(2_000)}}, "at most 1024"),
        ({"other": 10**30}, "less than or equal"),
    ],
)
def test_a_reference_from_elsewhere_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CategoricalReference.model_validate({"counts": {"a": 1}} | change)


def test_a_category_that_is_a_text_of_its_own_is_counted_with_the_rarest() -> None:
    reference = CategoricalReference.of(["x" * 70_000, "short"], [9, 5], missing=1)
    assert (reference.counts, reference.other) == ({"short": 5}, 9)
