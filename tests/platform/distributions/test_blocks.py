"""Columns counted together have the very numbers that each would have alone, and as much memory as was promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy
from numpy.typing import NDArray

from forgeline.distributions import CategoricalBlock, CategoricalReference, NumericBlock, NumericReference
from forgeline.distributions.numeric_block import _AT_ONCE

Numbers = NDArray[np.float64]
LARGEST_BYTES = 1024

anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
# Values that meet the edges of a reference are the ones to be wrong about.
coarse = st.sampled_from([-0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 7.0, float("nan"), float("inf"), -float("inf")])
columns = of_numpy.arrays(np.float64, st.tuples(st.integers(0, 30), st.just(3)), elements=anything | coarse)


@given(columns, columns, columns)
@settings(max_examples=200, deadline=None)
def test_columns_together_are_counted_as_each_alone(train: Numbers, one: Numbers, other: Numbers) -> None:
    bounded = np.clip(train, -1e100, 1e100)  # further out, a reference's own deviation overflows
    references = [NumericReference.of(bounded[:, number]) for number in range(3)]
    block = NumericBlock(references)
    block.add(one)
    block.add(other)
    alone = [reference.count(np.concatenate([one, other])[:, number]) for number, reference in enumerate(references)]
    assert block.counts() == alone
    block.clear()
    assert [counts.rows for counts in block.counts()] == [0, 0, 0]


def test_a_large_piece_is_counted_as_its_parts() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(_AT_ONCE // 50, 100))
    references = [NumericReference.of(values[:500, number]) for number in range(100)]
    block = NumericBlock(references)
    block.add(values)
    assert block.counts() == [reference.count(values[:, number]) for number, reference in enumerate(references)]


names = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.dictionaries(names, st.integers(0, 5)), st.lists(names, unique=True), st.lists(names | st.none() | st.just("?"))
)
@settings(max_examples=200, deadline=None)
def test_codes_are_counted_as_names(known: dict[str, int], vocabulary: list[str], seen: list[str | None]) -> None:
    reference = CategoricalReference.of(known.keys(), known.values())
    codes = [0 if name is None else vocabulary.index(name) + 1 if name in vocabulary else -1 for name in seen]
    block = CategoricalBlock([reference, reference], [vocabulary, vocabulary])
    block.add(np.asarray([codes, codes[::-1]], dtype=np.int64).reshape(2, -1).T)
    # A name that the vocabulary lacks cannot be told from others by its code.
    told = [("" if name is None else name if name in vocabulary else "unknown") for name in seen]
    alone = reference.count({name: told.count(name) for name in told})
    assert block.counts() == [alone, alone]


def test_nothing_to_count_is_nothing() -> None:
    block, codes = NumericBlock([]), CategoricalBlock([], [])
    block.add(np.zeros((4, 0)))
    codes.add(np.zeros((4, 0), dtype=np.int64))
    assert block.counts() == [] and codes.counts() == []


@pytest.mark.parametrize("distinct", [1, 2, 64, 100_000])
def test_a_feature_takes_less_than_a_kilobyte(distinct: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, distinct, 50_000).astype(np.float64)
    numeric = NumericReference.of(values).count(values)
    assert numeric.bins.nbytes + 6 * 8 <= LARGEST_BYTES
    found, counts = np.unique(values, return_counts=True)
    reference = CategoricalReference.of(map(str, found.tolist()), counts.tolist())
    categorical = reference.count({})
    assert categorical.known.nbytes + 2 * 8 <= LARGEST_BYTES
