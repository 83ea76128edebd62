"""YAML 1.2 (core schema) read into plain values, with the line of every key.

Unusual:
- ruamel.yaml only parses; values are made here, because its resolver sees more numbers and dates than YAML 1.2 has.
- An alias is counted as often as it is used, so a small file cannot stand for a huge one.
- Keys are always text, as written: `on: 1` is the key "on".
- A str is a document, a Path is a file; neither is ever taken for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from forgeline.errors import SpecError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 2**20
MAX_NODES = 50_000
MAX_DEPTH = 64

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A specification as read.

    Attributes:
        data: mappings, lists and scalars.
        lines: line of each key and list item, counted from 1; what comes from an alias has the alias' line.
        source: file name for messages, None for what was given as a mapping.
        overrides: path -> the text that stands for the override in a message.
    """

    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    source: str | None = None
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> tuple[str | None, int | None]:
        """Source and line of a path, or of its nearest ancestor; an override takes the place of a line."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return self.overrides[path[:end]], None
            if path[:end] in self.lines:
                return self.source, self.lines[path[:end]]
        return self.source, None

    def error(self, message: str, path: KeyPath = (), *, key: str | None = None) -> SpecError:
        """A SpecError at a path."""
        source, line = self.place(path)
        return SpecError(message, key=key or dotted(path) or None, line=line, source=source)


def dotted(path: KeyPath) -> str:
    """A path as the user writes it: `optimizer.betas.0`; a key with a dot in it stands in quotes."""
    return ".".join(f'"{part}"' if isinstance(part, str) and ("." in part or not part) else str(part) for part in path)


def read_document(source: Path | str) -> Document:
    """Read a YAML file (a Path) or a YAML text (a str) whose top level is a mapping.

    Raises:
        SpecError: the file cannot be read, or is not one small YAML 1.2 mapping.
    """
    name, text = ("<text>", source) if isinstance(source, str) else (source.name, _read(source))
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SpecError(f"is larger than a specification may be ({MAX_BYTES // 2**20} MiB)", source=name)
    composer = _Composer(text, name)
    data = composer.document()
    if data is None:
        raise SpecError("is empty; expected a mapping that begins with `kind:`", source=name)
    if not isinstance(data, dict):
        hint = "; give a file as a pathlib.Path" if isinstance(source, str) and "\n" not in text else ""
        raise SpecError(f"got {kind_of(data)} at the top level; expected a mapping with `kind:`{hint}", source=name)
    return Document(data=data, lines=composer.lines, source=name)


def parse_value(text: str, *, source: str) -> Any:
    """One YAML value, as `--set key=value` gives it."""
    return _Composer(text, source, numbered=False).document()


def kind_of(value: object) -> str:
    """What a value is, in words."""
    if value is None:
        return "nothing (null)"
    names = {bool: "boolean", float: "number", str: "string", list: "list", dict: "mapping"}
    return "an integer" if type(value) is int else f"a {names.get(type(value), type(value).__name__)}"


def scalar(text: str) -> Any:
    """The value of an unquoted scalar under the core schema.

    >>> scalar("1e-3"), scalar("on"), scalar("010")
    (0.001, 'on', 10)
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _read(path: Path) -> str:
    name = str(path)
    try:
        if path.is_dir():
            raise SpecError("is a folder; expected a YAML file", source=name)
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        raise SpecError(f"cannot be read: {reason}; expected a YAML file", source=name) from error
    except ValueError as error:
        raise SpecError(f"cannot be read: {error}; expected a YAML file", source=repr(name)) from error
    if len(raw) > MAX_BYTES:
        raise SpecError(f"is larger than a specification may be ({MAX_BYTES // 2**20} MiB)", source=path.name)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"got byte 0x{raw[error.start]:02x}, which is not UTF-8; save the file as UTF-8"
        raise SpecError(message, source=path.name, line=line) from error


@dataclass(frozen=True, slots=True)
class _Node:
    """A value with the number of nodes and levels that it has when its aliases are written out."""

    value: Any
    size: int = 1
    height: int = 1


class _Composer:
    """Makes plain values out of parser events; checks depth and size while it goes."""

    def __init__(self, text: str, source: str, *, numbered: bool = True) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._source = source
        self._numbered = numbered
        self._events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
        self._anchors: dict[str, _Node] = {}
        self._open: set[str] = set()
        self._count = 0

    def document(self) -> Any:
        """The one document of the stream; None when there is none."""
        value: Any = None
        seen = False
        try:
            for event in self._events:
                if isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                    continue
                if isinstance(event, DocumentStartEvent):
                    if seen:
                        self._fail("a second document begins here; a specification is one document", event)
                    seen = True
                    continue
                value = self._node(event, (), 1).value
        except YAMLError as error:
            self._syntax(error)
        return value

    def _syntax(self, error: YAMLError) -> NoReturn:
        # The mark's snippet is left out: it would show the line as it is written, secrets included.
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark is not None and self._numbered else None
        if isinstance(error, MarkedYAMLError):
            problem = error.problem or error.context or "cannot be parsed"
        else:
            problem = "there is a character that YAML does not allow"
        raise SpecError(f"is not valid YAML: {problem}", source=self._source, line=line) from error

    def _fail(self, message: str, event: Event, path: KeyPath = ()) -> NoReturn:
        line = event.start_mark.line + 1 if self._numbered else None
        raise SpecError(message, key=dotted(path) or None, source=self._source, line=line)

    def _node(self, event: Event, path: KeyPath, depth: int) -> _Node:
        if isinstance(event, AliasEvent):
            node = self._alias(event, path)
            self._check(event, path, added=node.size, depth=depth + node.height - 1)
            return node
        self._check(event, path, added=1, depth=depth)
        anchor = str(getattr(event, "anchor", None) or "")
        if anchor:
            self._open.add(anchor)
        if isinstance(event, ScalarEvent):
            node = _Node(self._scalar(event, path))
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(event, path, depth)
        else:
            assert isinstance(event, MappingStartEvent), event
            node = self._mapping(event, path, depth)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = node
        return node

    def _check(self, event: Event, path: KeyPath, *, added: int, depth: int) -> None:
        self._count += added
        if self._count > MAX_NODES:
            self._fail(f"more than {MAX_NODES:,} values once the aliases are written out; use fewer aliases", event)
        if depth > MAX_DEPTH:
            self._fail(f"nested more than {MAX_DEPTH} levels deep; allowed: {MAX_DEPTH}", event, path[:3])

    def _alias(self, event: AliasEvent, path: KeyPath) -> _Node:
        anchor = event.anchor
        if anchor in self._open:
            self._fail(f"alias `*{anchor}` stands inside the value that it names", event, path)
        if anchor not in self._anchors:
            self._fail(f"alias `*{anchor}` names no anchor above it; quote text that begins with `*`", event, path)
        return self._anchors[anchor]

    def _sequence(self, event: SequenceStartEvent, path: KeyPath, depth: int) -> _Node:
        self._tag(event, path, "seq")
        items: list[Any] = []
        size, height = 1, 0
        while not isinstance(item := next(self._events), SequenceEndEvent):
            here = (*path, len(items))
            self.lines[here] = item.start_mark.line + 1
            node = self._node(item, here, depth + 1)
            items.append(node.value)
            size, height = size + node.size, max(height, node.height)
        return _Node(items, size, height + 1)

    def _mapping(self, event: MappingStartEvent, path: KeyPath, depth: int) -> _Node:
        self._tag(event, path, "map")
        found: dict[str, Any] = {}
        size, height = 1, 0
        while not isinstance(first := next(self._events), MappingEndEvent):
            key = self._key(first, path)
            here = (*path, key)
            if key in found:
                before = f" (first on line {self.lines[here]})" if self._numbered else ""
                self._fail(f"the key is there twice{before}; remove one", first, here)
            self.lines[here] = first.start_mark.line + 1
            node = self._node(next(self._events), here, depth + 1)
            found[key] = node.value
            size, height = size + node.size, max(height, node.height)
        return _Node(found, size, height + 1)

    def _key(self, event: Event, path: KeyPath) -> str:
        if not isinstance(event, ScalarEvent):
            self._fail("got a mapping, a list or an alias as a key; keys are plain text", event, path)
        self._tag(event, path, "str")
        text = str(event.value)
        if event.style is None and text == "<<":
            self._fail("`<<` merges are not part of YAML 1.2; write the keys out", event, path)
        if event.style is None and scalar_is_null(text):
            self._fail("got an empty key; keys are plain text", event, path)
        return self._text(text, event, path)

    def _text(self, text: str, event: Event, path: KeyPath) -> str:
        """The text, with the surrogate pairs of JSON escapes put together."""
        if _SURROGATE.search(text) is None:
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fail("half a surrogate pair is not text; write the character itself", event, path)

    def _tag(self, event: Event, path: KeyPath, *allowed: str) -> str | None:
        # ruamel's tag object prints "None" where there is none.
        tag = str(getattr(event, "ctag", None))
        if tag == "None":
            return None
        short = tag.removeprefix(_TAG)
        if tag != "!" and (short == tag or short not in allowed):
            shown = f"!!{short}" if short != tag else tag
            known = ", ".join(f"`!!{name}`" for name in allowed)
            self._fail(f"got the tag `{shown}`; allowed here: no tag, or {known}", event, path)
        return short

    def _scalar(self, event: ScalarEvent, path: KeyPath) -> Any:
        text = str(event.value)
        tag = self._tag(event, path, "str", "int", "float", "bool", "null")
        if tag in ("str", "!") or (tag is None and event.style is not None):
            return self._text(text, event, path)
        try:
            value = scalar(text)
        except ValueError:
            self._fail(f"a number of {len(text)} digits is too long; allowed: 4300", event, path)
        if tag is None:
            return value
        if tag == "float" and type(value) is int:
            return float(value)
        wanted = {"int": int, "float": float, "bool": bool, "null": type(None)}[tag]
        if type(value) is not wanted:
            self._fail(f"got {text[:40]!r}, which is not a value of the tag `!!{tag}`", event, path)
        return value


def scalar_is_null(text: str) -> bool:
    """Whether an unquoted scalar means null."""
    return _NULL.fullmatch(text) is not None
