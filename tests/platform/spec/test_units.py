from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from forgeline.spec.units import Length, Quantity, Share, ShareOrSteps, Size, TimeSpan

LENGTHS = st.builds(Length, st.integers(1, 10**12), st.sampled_from(["ep", "step"]))
SHARES = st.builds(Share, st.floats(0, 1))
QUANTITIES = st.one_of(
    LENGTHS,
    st.builds(TimeSpan, st.integers(1, 10**12)),
    st.builds(Size, st.integers(1, 10**18)),
    SHARES,
    st.builds(
        ShareOrSteps,
        st.none() | SHARES.filter(lambda s: s.value > 0) | st.builds(Length, st.integers(1, 10**9), st.just("step")),
    ),
)


@given(QUANTITIES)
def test_what_is_printed_reads_back_equal(quantity: Quantity) -> None:
    kind = type(quantity)
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    text = adapter.dump_python(quantity, mode="json")
    assert text == str(quantity)
    assert kind.parse(text) == adapter.validate_python(text) == quantity
    Draft202012Validator(adapter.json_schema()).validate(text)


@pytest.mark.parametrize(
    ("kind", "given", "printed"),
    [
        (Length, "10ep", "10ep"),
        (Length, "3 epochs", "3ep"),
        (Length, 500, "500step"),
        (Length, "500", "500step"),
        (TimeSpan, "30m", "30m"),
        (TimeSpan, "90m", "1h30m"),
        (TimeSpan, "1d", "24h"),
        (TimeSpan, "20ms", "0.02s"),
        (TimeSpan, "1s500ms", "1.5s"),
        (TimeSpan, "0ms", None),
        (TimeSpan, "20 ms", None),
        (TimeSpan, 90, "1m30s"),
        (TimeSpan, 0.5, "0.5s"),
        (TimeSpan, "1e3", None),
        (TimeSpan, 1e3, "16m40s"),
        (Size, "16GiB", "16GiB"),
        (Size, "500MB", "500MB"),
        (Size, "1.5GiB", "1536MiB"),
        (Size, 1000, "1kB"),
        (Size, 7, "7B"),
        (Share, "5%", "5%"),
        (Share, 0.05, "5%"),
        (Share, 1, "100%"),
        (Share, "12.5 %", "12.5%"),
        (Share, 1e-9, "1e-7%"),
        (ShareOrSteps, "5%", "5%"),
        (ShareOrSteps, "100step", "100step"),
        (ShareOrSteps, "0step", "0"),
        (ShareOrSteps, 0, "0"),
        (ShareOrSteps, 0.5, None),
        (ShareOrSteps, 100, None),
        (ShareOrSteps, "3ep", None),
        (Length, "0ep", None),
        (Length, "-1ep", None),
        (Length, "1.5ep", None),
        (Length, 1.5, None),
        (Length, True, None),
        (Length, "10mb", None),
        (Length, "٣ep", None),
        (TimeSpan, "0s", None),
        (TimeSpan, "", None),
        (TimeSpan, "30", "30s"),
        (TimeSpan, "30m1h", None),
        (TimeSpan, float("nan"), None),
        (TimeSpan, float("inf"), None),
        (TimeSpan, 0.00001, None),
        (Size, "16gib", None),
        (Size, "0.3B", None),
        (Size, 1.5, None),
        (Size, "9" * 100, None),
        (Share, "101%", None),
        (Share, float("nan"), None),
        (Share, -0.1, None),
        (Share, "0.05", None),
        (Share, None, None),
        (Share, "1e999%", None),
    ],
)
def test_parsing_agrees_with_the_json_schema(kind: type[Quantity], given: Any, printed: str | None) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    if printed is None:
        with pytest.raises(ValidationError, match=r"expected .* such as"):
            adapter.validate_python(given)
        return
    assert str(adapter.validate_python(given)) == printed
    assert Draft202012Validator(adapter.json_schema()).is_valid(given)


def test_a_message_has_the_value_and_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"got '3x'; expected whole epochs such as `10ep` or steps such as `500step`"):
        Length.parse("3x")


def test_epochs_and_steps_do_not_mix() -> None:
    assert Length(2, "ep") + Length(3, "ep") == Length(5, "ep")
    assert Length(2, "ep") < Length(3, "ep") and Length(3, "ep") <= Length(3, "ep")
    with pytest.raises(TypeError, match="cannot add 2ep and 3step: epochs and steps do not mix"):
        Length(2, "ep") + Length(3, "step")
    with pytest.raises(TypeError, match="cannot compare 2ep and 3step"):
        _ = Length(2, "ep") < Length(3, "step")
    with pytest.raises(TypeError):
        _ = TimeSpan(5) < Size(6)  # type: ignore[operator]
    assert TimeSpan(1) != Size(1)  # type: ignore[comparison-overlap]


def test_amounts() -> None:
    assert TimeSpan.parse("1h30m").total_seconds() == 5400
    assert Size.parse("1KiB").bytes == 1024
    assert [ShareOrSteps.parse(text).in_steps(200) for text in ("5%", "30step", 0)] == [10, 30, 0]
