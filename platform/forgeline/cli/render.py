"""Tables and JSON for people and for scripts. Identifiers are never cut; colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 4096
"""Columns of a console that is no terminal: a pipe has no width, and a folded line breaks scripts."""

STATE_STYLES: Mapping[str, str] = {
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "stopping": "yellow",
    "running": "cyan",
    "starting": "cyan",
}


class Format(StrEnum):
    """How a listing is written."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="`table` for people, `json` for scripts.")]


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or as wide as needed where there is none."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=not stream.isatty(), emoji=False)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, form: Format, empty: str) -> None:
    """Write a listing.

    Args:
        rows: one mapping a line; JSON gets all of it, a table the named columns.
        columns: keys to show, in order; the first holds the identifier.
        form: table or JSON.
        empty: what to say in place of an empty table.
    """
    if form is Format.JSON:
        show_json(list(rows))
        return
    if not rows:
        print(empty)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        longest = max(len(text_of(row.get(column))) for row in rows)
        table.add_column(
            Text(column.replace("_", " ")),
            overflow="fold",
            no_wrap=index == 0,
            min_width=longest if index == 0 else None,
        )
    for row in rows:
        table.add_row(*(Text(text_of(row.get(c)), style=_style(c, row.get(c))) for c in columns))
    out.print(table)


def show_pairs(pairs: Sequence[tuple[str, Any]], *, title: str | None = None) -> None:
    """Write names and values, one a line, names aligned; pairs without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    if title:
        out.print(Text(title, style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and value != "":
            table.add_row(Text(name), Text(text_of(value), style=_style(name, value)))
    out.print(table)


def show_json(value: Any) -> None:
    """Write a value as JSON."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def text_of(value: Any) -> str:
    """A value as a cell of a table.

    >>> text_of(0.98765432), text_of(["a", "b"]), text_of(None)
    ('0.98765', 'a, b', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, datetime):
        return local_time(value)
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text_of(item)}" for key, item in value.items())
    return str(value)


def local_time(moment: datetime | None) -> str:
    """A moment in the user's own time zone, to the second."""
    if moment is None:
        return ""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """A length of time in words short enough for a column.

    >>> duration(3.2), duration(64), duration(7260)
    ('3.2 s', '1 min 4 s', '2 h 1 min')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _style(column: str, value: Any) -> str:
    return STATE_STYLES.get(str(value), "") if column == "state" else ""
