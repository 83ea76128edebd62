"""Tables and JSON for people and for scripts. Identifiers are never cut; colours only on a terminal."""

from __future__ import annotations

import json
import os
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


_SHORT = 20
"""Characters up to which a cell is never broken."""

_SHORT_ID = 8


def discard_output() -> None:
    """Let what is still written to stdout, whose reader is gone, be lost in silence, at exit as well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    cells = [[text_of(row.get(column)) for column in columns] for row in rows]
    titles = [column if {"/", "."} & {*column} else column.replace("_", " ") for column in columns]
    out = console()
    if not out.is_terminal:
        _print_aligned([titles, *cells])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, title in enumerate(titles):
        longest = max(len(line[index]) for line in cells)
        # Short values, numbers and times above all, stay in one piece; sentences are what is wrapped.
        whole = index == 0 or longest <= _SHORT
        table.add_column(Text(title), overflow="fold", no_wrap=whole, min_width=longest if whole else None)
    for line in cells:
        styled = zip(columns, line, strict=True)
        table.add_row(*(Text(cell, style=_style(column, cell)) for column, cell in styled))
    out.print(table)


def show_pairs(pairs: Sequence[tuple[str, Any]], *, title: str | None = None) -> None:
    """Write names and values, one a line, names aligned; pairs without a value are left out."""
    shown = [(name, text_of(value)) for name, value in pairs if value is not None and value != ""]
    out = console()
    if not out.is_terminal:
        if title:
            print(title)
        _print_aligned([list(pair) for pair in shown])
        return
    from rich.table import Table
    from rich.text import Text

    if title:
        out.print(Text(title, style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in shown:
        table.add_row(Text(name), Text(value, style=_style(name, value)))
    out.print(table)


def _print_aligned(lines: Sequence[Sequence[str]]) -> None:
    """One line a row, for a pipe: nothing is wrapped, and nothing follows the last value."""
    flat = [[" ".join(cell.split()) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    for line in flat:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


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


def short_id(run_id: str | None) -> str:
    """The start of a run's id, for tables: every command takes it."""
    return (run_id or "")[:_SHORT_ID]


def minute(moment: datetime | None) -> str:
    """A moment in the user's own time zone, to the minute, for a column."""
    return local_time(moment)[:16]


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


def amount(number: float | None, *, unit: str = "") -> str:
    """A large number with three digits and a decimal prefix.

    >>> amount(23_063), amount(4_089_184_256), amount(16_947_940, unit="B"), amount(999_600), amount(None)
    ('23.1 k', '4.09 G', '16.9 MB', '1 M', '')
    """
    if number is None:
        return ""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:  # which three digits round up
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".rstrip()


def _style(column: str, value: Any) -> str:
    return STATE_STYLES.get(str(value).partition(":")[0], "") if column == "state" else ""
