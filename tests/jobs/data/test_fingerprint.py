"""Fingerprints: the content decides, not the place or the form that it was read in."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from forgeline_jobs.data.fingerprint import Fingerprint, fingerprint_arrays


def of(frame: pd.DataFrame) -> str:
    return Fingerprint().add_table(frame).hex()


BASE = pd.DataFrame({"a": [1, 2], "b": ["x", None]})


def test_byte_order_does_not_count() -> None:
    numbers = np.arange(3)
    assert fingerprint_arrays({"x": numbers.astype("<i8")}) == fingerprint_arrays({"x": numbers.astype(">i8")})


def test_values_names_types_and_order_count() -> None:
    different = [
        BASE,
        BASE.assign(a=[1, 3]),
        BASE.assign(a=[1.0, 2.0]),
        BASE.assign(b=["x", "None"]),
        BASE.assign(b=["x", ""]),
        BASE.rename(columns={"a": "c"}),
        BASE[["b", "a"]],
        BASE.iloc[::-1],
    ]
    assert len({of(frame) for frame in different}) == len(different)


def test_the_name_of_a_text_type_does_not_count() -> None:
    assert of(BASE.astype({"b": object})) == of(BASE.astype({"b": "string"})) == of(BASE)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4), st.lists(st.text(max_size=4), min_size=1, max_size=4))
def test_texts_do_not_run_together(first: list[str], second: list[str]) -> None:
    one, other = (Fingerprint().add_texts("t", texts).hex() for texts in (first, second))
    assert (one == other) == (first == second)


def test_layout_in_memory_does_not_count() -> None:
    array = np.arange(12).reshape(3, 4)
    assert fingerprint_arrays({"x": array}) == fingerprint_arrays({"x": np.asfortranarray(array)})
    assert fingerprint_arrays({"x": array}) != fingerprint_arrays({"x": array.reshape(4, 3)})
