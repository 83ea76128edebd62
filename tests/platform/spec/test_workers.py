"""Numbers and ranges of workers: what reads as what, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forgeline.spec.envelope import Resources
from forgeline.spec.workers import WorkerRange


@given(fewest=st.integers(1, 500), more=st.integers(0, 500))
def test_a_range_reads_back_as_it_is_written(fewest: int, more: int) -> None:
    resources = Resources.model_validate({"workers": f"{fewest}..{fewest + more}"})
    assert (resources.fewest_workers, resources.most_workers) == (fewest, fewest + more)
    assert resources.is_elastic == (more > 0)
    stored = resources.model_dump(mode="json")
    assert Resources.model_validate(stored) == resources
    assert resources.with_workers(7).workers == 7


def test_spaces_are_allowed_and_numbers_stay_numbers() -> None:
    assert Resources.model_validate({"workers": " 2 .. 4"}).workers == WorkerRange(2, 4)
    assert Resources.model_validate({"workers": 3}).workers == 3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("4..2", "reversed; the lower number comes first: `2..4`"),
        ("0..3", "a range begins at 1 or more: `1..3`"),
        ("2...4", "expected a number of workers, or a range such as `2..4`"),
        ("..4", "expected a number of workers, or a range such as `2..4`"),
        ("a..b", "got 'a..b'"),
        (0, "greater than or equal to 1"),
        ("many", "valid integer"),
    ],
)
def test_what_is_no_number_of_workers_is_refused(value: object, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Resources.model_validate({"workers": value})
    assert told in str(refused.value)
