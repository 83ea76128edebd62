"""From YAML to a checked spec and back: read, pick the kind, lay overrides over it, check, and write it resolved.

`dump` writes every key with its value, defaults included, and what it writes loads to an equal spec.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from forgeline import plugins
from forgeline.errors import SpecError
from forgeline.kinds import get_kind
from forgeline.masking import masked
from forgeline.spec.envelope import Envelope
from forgeline.spec.overrides import apply_overrides, parse_overrides, plain
from forgeline.spec.source import Document, kind_of, read_document, scalar
from forgeline.spec.validation import validate

_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./%+@-]*(:[A-Za-z0-9_./%+@-]+)*")
_ESCAPED = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class LoadedSpec:
    """A checked specification.

    Attributes:
        spec: the kind's spec model.
        document: what it was read from, for messages with a line.
        text: the resolved YAML.
    """

    spec: Envelope
    document: Document
    text: str

    def located(self, check: Callable[[], Found]) -> Found:
        """Run a check and return what it found; its SpecError gets the place of the key that it names."""
        try:
            return check()
        except SpecError as error:
            origin, line = self.document.place(tuple(error.key.split(".")) if error.key else ())
            raise error.located(line=line, source=origin) from error


def load(
    source: Path | str | Mapping[str, Any],
    set: Mapping[str, Any] | Sequence[str] = (),  # noqa: A002
    *,
    stored: bool = False,
) -> LoadedSpec:
    """Read and check a specification.

    Args:
        source: a file (Path), a YAML text (str), or plain data.
        set: overrides, `{"optimizer.lr": 3e-4}` or `["optimizer.lr=3e-4"]`.
        stored: the run has weights of its own already: files that training began from may be gone.

    Raises:
        SpecError: what is wrong, with line, key and the nearest valid key; further errors are in `others`.
    """
    document = Document(data=plain(source)) if isinstance(source, Mapping) else read_document(source)
    document = _with_files(document, source.parent if isinstance(source, Path) else Path())
    document = apply_overrides(document, parse_overrides(set))
    spec = validate(_model(document), document, {"stored": True} if stored else None)
    return LoadedSpec(spec=spec, document=document, text=dump(spec))


def dump(spec: Envelope) -> str:
    """The spec as YAML with every key written out."""
    return _written(spec.resolved())


def dump_masked(spec: Envelope) -> str:
    """The same without passwords and tokens, for places that others can read; it cannot be run again."""
    return _written(masked(spec.resolved()))


def _model(document: Document) -> type[Envelope]:
    if document.data.get("kind") is None:
        known = ", ".join(plugins.names(plugins.KINDS))
        raise document.error(f"required key is missing; known: {known}", ("kind",))
    kind = document.data["kind"]
    if not isinstance(kind, str):
        raise document.error(f"got {kind_of(kind)}; expected the name of a kind", ("kind",))
    try:
        return get_kind(kind).spec_model()
    except SpecError as error:
        origin, line = document.place(("kind",))
        raise error.located(line=line, source=origin) from error


def _with_files(document: Document, folder: Path) -> Document:
    """The document with what stands in other files in place of their names, found from its own folder."""
    if not isinstance(document.data.get("kind"), str):
        return document
    data = document.data
    for key in _model(document).from_files:
        *above, last = path = tuple(key.split("."))
        holder: Any = data
        for part in above:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or not isinstance(name := holder.get(last), str):
            continue
        try:
            found = read_document(folder / name).data
        except SpecError as error:
            raise document.error(f"{error.source} {error.message}", path) from error
        data = _with(data, path, found)
    return replace(document, data=data)


def _with(data: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with a value at a path."""
    first, *rest = path
    return data | {first: _with(data[first], tuple(rest), value) if rest else value}


def _written(data: Mapping[str, Any]) -> str:
    return "\n".join(_block(data, "")) + "\n"


def _block(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{indent}{_scalar(key)}:", value, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield head
        yield from _block(value, indent + "  ")
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        yield head
        for item in value:
            yield from _entry(f"{indent}  -", item, indent + "  ")
    elif isinstance(value, list):
        yield f"{head} [{', '.join(_scalar(item) for item in value)}]"
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and isinstance(scalar(value), str):
            return value
        return _ESCAPED.sub(_escape, json.dumps(value, ensure_ascii=False))
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _escape(found: re.Match[str]) -> str:
    # JSON leaves DEL, NEL, line separators and the byte order mark as they are; YAML would fold or refuse them.
    return f"\\u{ord(found[0]):04x}"
