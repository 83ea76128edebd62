from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline.errors import SpecError
from forgeline.spec.source import MAX_BYTES, MAX_DEPTH, dotted, read_document


def fails(text: str | Path) -> str:
    with pytest.raises(SpecError) as caught:
        read_document(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5", 5),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-.5e3", -500.0),
        (".inf", float("inf")),
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("True", True),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("5%", "5%"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("!!float 3", 3.0),
        ("~", None),
        ("", None),
        (r'"\ud83d\ude00"', "😀"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = read_document(f"a: {text}").data["a"]
    assert found == value and type(found) is type(value)


def test_keys_are_text_as_written() -> None:
    assert read_document("on: 1\n1: 2\ntrue: 3").data == {"on": 1, "1": 2, "true": 3}


def test_lines_of_keys_items_and_aliases() -> None:
    document = read_document("a: &x\n  b: 1\nc:\n  - 2\n  - {d: 3}\ne: *x\n")
    assert document.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("c",): 3,
        ("c", 0): 4,
        ("c", 1): 5,
        ("c", 1, "d"): 5,
        ("e",): 6,
    }
    assert document.place(("e", "b")) == ("<text>", 6)
    assert document.data["e"] == {"b": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "<text>: is empty; expected a mapping that begins with `kind:`"),
        ("# only a comment\n", "<text>: is empty; expected a mapping that begins with `kind:`"),
        ("- a\n- b\n", "<text>: got a list at the top level; expected a mapping with `kind:`"),
        (
            "spec.yaml",
            "<text>: got a string at the top level; expected a mapping with `kind:`; give a file as a pathlib.Path",
        ),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "<text>:4: b.c: the key is there twice (first on line 3); remove one"),
        ("a: 1\n---\nb: 2\n", "<text>:2: a second document begins here; a specification is one document"),
        (
            "x: !!python/object/apply:os.system [ls]",
            "<text>:1: x: got the tag `!!python/object/apply:os.system`; allowed here: no tag, or `!!seq`",
        ),
        (
            "x: !env HOME",
            "<text>:1: x: got the tag `!env`; allowed here: no tag, or `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`",
        ),
        ("x: !!int y", "<text>:1: x: got 'y', which is not a value of the tag `!!int`"),
        ("a: &a [*a]", "<text>:1: a.0: alias `*a` stands inside the value that it names"),
        ("a: *b", "<text>:1: a: alias `*b` names no anchor above it; quote text that begins with `*`"),
        ("a:\n  <<: {b: 1}", "<text>:2: a: `<<` merges are not part of YAML 1.2; write the keys out"),
        ("? [a]\n: 1", "<text>:1: got a mapping, a list or an alias as a key; keys are plain text"),
        ("a: 1\nb:\n\tc: 1", "<text>:3: is not valid YAML: found character '\\t' that cannot start any token"),
        ("a: \0", "<text>: is not valid YAML: there is a character that YAML does not allow"),
        ('a: "\\ud800"', "<text>:1: a: half a surrogate pair is not text; write the character itself"),
        ("a: " + "9" * 5000, "<text>:1: a: a number of 5000 digits is too long; allowed: 4300"),
    ],
)
def test_hostile_text(text: str, message: str) -> None:
    assert fails(text) == message


def test_a_yaml_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert fails("\n".join(lines)) == (
        "<text>:5: more than 50,000 values once the aliases are written out; use fewer aliases"
    )


def test_depth_is_limited_with_and_without_aliases() -> None:
    inside = MAX_DEPTH - 2
    read_document("a: " + "[" * inside + "1" + "]" * inside)
    assert "nested more than 64 levels deep; allowed: 64" in fails("a: " + "[" * 5000)
    half = "[" * 40 + "1" + "]" * 40
    assert "<text>:2: b.0.0: nested more than 64 levels" in fails(f"a: &a {half}\nb: {'[' * 30}*a{']' * 30}")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    assert fails(path) == f"{path}: cannot be read: no such file; expected a YAML file"
    assert fails(tmp_path) == f"{tmp_path}: is a folder; expected a YAML file"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    assert fails(path) == "spec.yaml:2: got byte 0xe9, which is not UTF-8; save the file as UTF-8"
    path.write_bytes(b"a: 1 # " + b"x" * MAX_BYTES)
    assert fails(path) == "spec.yaml: is larger than a specification may be (1 MiB)"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_document(path).data == {"a": 1, "b": 2}
    assert "cannot be read" in fails(Path("a\0b"))


def test_syntax_errors_do_not_show_the_line() -> None:
    assert "hunter2" not in fails("a: 1\npassword: hunter2: [\n")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_document(text)
    except SpecError as error:
        assert str(error)


# YAML 1.2, section 7.4.2: a key on one line has at most 1,024 characters; one character takes up to 12 when escaped.
KEYS = st.text(min_size=1, max_size=80)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=3))
def test_json_is_yaml(data: dict[str, object]) -> None:
    assert read_document(json.dumps(data)).data == data


def test_dotted_quotes_keys_that_hold_a_dot() -> None:
    assert dotted(("a", "layer1.*", 0)) == 'a."layer1.*".0'
