from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.spec.overrides import apply_overrides, parse_overrides
from forgeline.spec.source import read_document
from forgeline.spec.units import Length

PLAIN = "a string, a number, a boolean, None, a list or a mapping"
TEXT = "a: &x {b: 1, c: [1, {d: 2}]}\ne: *x\nf: null\n"


def put(*given: str, **mapping: Any) -> dict[str, Any]:
    return apply_overrides(read_document(TEXT), parse_overrides(given)).data


@pytest.mark.parametrize(
    ("text", "at", "value"),
    [
        ("a.b=1e-3", ("a", "b"), 0.001),
        ("a.b=on", ("a", "b"), "on"),
        ("a.b=[1, 2]", ("a", "b"), [1, 2]),
        ("a.b={c: x}", ("a", "b"), {"c": "x"}),
        ("a.b=", ("a", "b"), None),
        ("a.b=x=y", ("a", "b"), "x=y"),
        ("a.c.1.d=5", ("a", "c", 1, "d"), 5),
        ("f.new.deep=5", ("f", "new", "deep"), 5),
        ("g=models:/digits@champion", ("g",), "models:/digits@champion"),
        ('f."layer1.*"=0.1', ("f", "layer1.*"), 0.1),
    ],
)
def test_values_go_where_the_path_says(text: str, at: tuple[str | int, ...], value: object) -> None:
    found: Any = put(text)
    for part in at:
        found = found[part]
    assert found == value


def test_an_alias_is_not_changed_with_its_anchor() -> None:
    data = put("a.c.0=9")
    assert (data["a"]["c"][0], data["e"]["c"][0]) == (9, 1)


def test_the_last_override_wins_and_names_the_origin() -> None:
    document = apply_overrides(read_document(TEXT), parse_overrides(["a.b=2", "a={b: 3}"]))
    assert document.data["a"] == {"b": 3}
    assert document.place(("a", "b")) == ("--set a={b: 3}", None)
    assert document.place(("e", "b")) == ("<text>", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b", "--set a.b: expected `key=value`, such as `optimizer.lr=3e-4`"),
        ("=5", "--set =5: expected `key=value`, such as `optimizer.lr=3e-4`"),
        ("a..b=5", "--set a..b=5: expected `key=value`, such as `optimizer.lr=3e-4`"),
        ("a.b.c=5", "--set a.b.c=5: a.b.c: `a.b` is an integer, so it has no key `c`; set `a.b` itself"),
        ("a.c.2=5", "--set a.c.2=5: a.c.2: got '2' for an item of the list `a.c`; allowed: 0 to 1"),
        ("a.c.x=5", "--set a.c.x=5: a.c.x: got 'x' for an item of the list `a.c`; allowed: 0 to 1"),
        (
            "a.password=[s3cret",
            "--set a.password=***: the value cannot be read (is not valid YAML: expected ',' or ']', "
            "but got '<stream end>'); quote it if it is text",
        ),
    ],
)
def test_bad_overrides(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        put(text)
    assert str(caught.value) == message


def test_python_values() -> None:
    given = {"a.b": (1, 2), "a.path": Path("x") / "y", "f": Length(3, "ep"), "e": {"b": None}}
    data = apply_overrides(read_document(TEXT), parse_overrides(given)).data
    assert data["a"] == {"b": [1, 2], "c": [1, {"d": 2}], "path": "x/y"}
    assert (data["f"], data["e"]) == ("3ep", {"b": None})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"a.b": object},
            f"set['a.b']: a.b: got a type; expected {PLAIN}",
        ),
        ({"a": {1: 2}}, "set['a']: a: got the key 1; keys are strings"),
        ({"a=b": 1}, "set: got the key 'a=b'; expected a dotted path such as `optimizer.lr`"),
        ("a=1", "set: got the string 'a=1'; expected a list of `key=value` texts or a mapping"),
    ],
)
def test_bad_python_values(given: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_overrides(given)
    assert str(caught.value) == message


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SpecError, match="nested more than 64 levels deep"):
        parse_overrides({"a": loop})
