"""Promises and tolerances as they are written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forgeline.errors import UsageError
from forgeline.spec.units import TimeSpan
from forgeline_deploy.detection import Promise, Rate, Tolerance, ToleranceSpec


def test_a_promise_is_so_many_windows() -> None:
    promise = Promise.model_validate({"false_alarms": "1 per 90d"})
    assert promise.windows(TimeSpan.parse("5m")) == 25_920
    assert Promise.model_validate({"false_alarms": "3 per 90d"}).windows(TimeSpan.parse("5m")) == 8_640
    assert Promise() == promise


def test_a_promise_of_hardly_any_windows_is_refused() -> None:
    with pytest.raises(UsageError, match="every 2 windows; allowed: every 20 or more"):
        Promise.model_validate({"false_alarms": "1 per 2h"}).windows(TimeSpan.parse("1h"))


@pytest.mark.parametrize("wrong", ["0 per 90d", "1 per", "one per 90d", "1 per 0d", 3, True, None, "1 per 5mm"])
def test_what_is_no_rate_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected how many in a time"):
        Rate.parse(wrong)


@pytest.mark.parametrize("wrong", ["0.05", "4 sigma", "0.6 tv", "-1 tv", "5 %", 0.05, "nan sigma", True])
def test_what_is_no_tolerance_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a distance"):
        Tolerance.parse(wrong)


@given(st.decimals(min_value=0, max_value="0.5", places=4), st.sampled_from(["sigma", "tv"]))
def test_a_tolerance_reads_back_as_it_is_printed(amount: Decimal, unit: str) -> None:
    tolerance = Tolerance.parse(f"{amount} {unit}")
    again = Tolerance.parse(str(tolerance))
    assert again.amount == tolerance.amount
    assert again.share == tolerance.share


def test_a_named_feature_has_its_own_tolerance() -> None:
    spec = ToleranceSpec.model_validate({"default": "0.1 sigma", "features": {"age": 0, "plan": "0.05 tv"}})
    assert [str(spec.of(name)) for name in ("age", "plan", "other")] == ["0", "0.05 tv", "0.1 sigma"]
    assert ToleranceSpec.model_validate_json(spec.model_dump_json()) == spec


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        Promise.model_validate({"false_alarm": "1 per 90d"})
