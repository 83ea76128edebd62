"""Exact match and token error rate, against the plain recurrence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline import metrics
from forgeline.errors import ForgelineError
from forgeline.preprocessing.pairs import END, PADDING

LENGTH = 7
words = st.lists(st.integers(3, 6), max_size=LENGTH - 1)


def rows(sequences: list[list[int]], fill: int = PADDING) -> np.ndarray:
    return np.asarray([[*s, END, *[fill] * (LENGTH - 1 - len(s))] for s in sequences])


def plain_distance(first: list[int], second: list[int]) -> int:
    distances = list(range(len(second) + 1))
    for number, token in enumerate(first, start=1):
        line = [number]
        for place, other in enumerate(second, start=1):
            line.append(min(distances[place] + 1, line[-1] + 1, distances[place - 1] + (token != other)))
        distances = line
    return distances[-1]


@given(st.lists(st.tuples(words, words), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_edits_are_those_of_the_plain_recurrence(pairs: list[tuple[list[int], list[int]]]) -> None:
    written, wanted = [first for first, _ in pairs], [second for _, second in pairs]
    values = metrics.compute("translation", rows(written), rows(wanted, fill=-100), loss=0.5)
    edits = sum(plain_distance(first, second) for first, second in pairs)
    assert values["token_error_rate"] == pytest.approx(edits / max(sum(map(len, wanted)), 1))
    assert values["exact_match"] == pytest.approx(np.mean([first == second for first, second in pairs]))
    assert values["loss"] == 0.5


def test_a_known_case() -> None:
    # kitten -> sitting takes three edits; the second pair is right, and one of its tokens stands behind the end.
    letters = {letter: number for number, letter in enumerate("egiknst", start=3)}
    written = [[letters[c] for c in "kitten"] + [END], [letters["s"], END, 9, 9, 9, 9, 9]]
    wanted = [[letters[c] for c in "sitting"], [letters["s"], END, -100, -100, -100, -100, -100]]
    values = metrics.compute("translation", np.asarray(written), np.asarray(wanted))
    assert values == {"exact_match": 0.5, "token_error_rate": pytest.approx(3 / 8)}


def test_shapes_must_agree() -> None:
    with pytest.raises(ForgelineError, match="shape"):
        metrics.compute("translation", np.zeros((2, 3), dtype=int), np.zeros((2, 4), dtype=int))


def test_directions() -> None:
    assert metrics.metric_info("translation", "val/exact_match").higher_is_better
    assert not metrics.metric_info("translation", "test/token_error_rate").higher_is_better
