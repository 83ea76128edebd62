"""The split: sticky, exact in its shares, and only ever growing towards the challenger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline_deploy.rollout import Split, choose

KEYS = st.one_of(st.text(max_size=40), st.binary(max_size=40))
SHARES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def split(share: float, salt: str = "r1") -> Split:
    return Split({"2": share, "1": 1 - share}, salt=salt)


@given(KEYS, SHARES, st.text(max_size=10))
def test_a_key_stays_with_its_version(key: str | bytes, share: float, salt: str) -> None:
    first = split(share, salt).choose(key)
    assert split(share, salt).choose(key) == first == choose(key, {"2": share, "1": 1 - share}, salt=salt)


@given(KEYS, SHARES, SHARES)
def test_a_growing_share_gives_no_key_back(key: str | bytes, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if split(small).choose(key) == "2":
        assert split(large).choose(key) == "2"


@given(KEYS)
def test_none_and_all_are_exact(key: str | bytes) -> None:
    assert split(0.0).choose(key) == "1"
    assert split(1.0).choose(key) == "2"


def test_the_shares_are_those_of_the_line() -> None:
    of_three = Split({"a": 0.05, "b": 0.25, "c": 0.7}, salt="")
    assert [end / 2**64 for end, _ in of_three._ends] == [0.05, 0.3, 1.0]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25])
def test_so_many_of_many_keys_go_to_the_challenger(share: float) -> None:
    keys, line = 20_000, split(share)
    found = sum(line.choose(f"caller-{number}") == "2" for number in range(keys))
    assert abs(found - keys * share) < 4 * (keys * share * (1 - share)) ** 0.5


def test_another_rollout_begins_with_other_callers() -> None:
    keys = [f"caller-{number}" for number in range(4000)]
    first, second = ({key for key in keys if split(0.1, salt).choose(key) == "2"} for salt in ("r1", "r2"))
    assert len(first & second) < 80  # 40 by chance


@pytest.mark.parametrize("weights", [{}, {"1": 0.5}, {"1": -0.5, "2": 1.5}, {"1": 0.6, "2": 0.6}])
def test_weights_that_are_no_shares_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed: shares from 0 to 1 that add up to 1"):
        Split(weights, salt="r1")
