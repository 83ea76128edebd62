"""What `forgeline run` shows of a run's events: a bar on a terminal, plain lines in a log, a summary at the end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from forgeline.cli.render import STATE_STYLES, console, duration, short_id, text_of
from forgeline.launching.events import EXIT_CODES, Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.progress import Progress
    from rich.table import Table

_STEP_LINE_MS = 10_000
_EPOCH_METRICS = 4

_OURS = frozenset({"run", "state", "step", "epoch", "attempt", "registered", "message", "result", "error"})
"""Events of the control plane; any other is a kind's own."""


class Display(Protocol):
    """Shows events as they come."""

    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


def display() -> Display:
    """The display that fits where stdout goes."""
    out = console()
    return LiveDisplay(out) if out.is_terminal else PlainDisplay(lambda line: print(line, flush=True))


def describe(event: Event) -> str | None:
    """An event as one line; None for those that say nothing new to a person."""
    kind = event["event"]
    if kind == "run":
        return f"run {event['run_id']} ({event['kind']} {event['name']})"
    if kind == "state":
        why = event.get("message") or event.get("reason")
        return f"{event['state']}: {why}" if why else str(event["state"])
    if kind == "epoch":
        metrics = metrics_text(event.get("metrics") or {}, limit=_EPOCH_METRICS)
        return f"epoch {_of(event, 'epoch')}, step {event.get('step')}: {metrics}"
    if kind == "attempt":
        start = f", from step {event['step']}" if event.get("step") is not None else ""
        return f"attempt {event['number']} ({event['cause']}){start}"
    if kind == "registered":
        alias = f" as {event['alias']}" if event.get("alias") else " as a candidate"
        return f"registered {event['model']} version {event['version']}{alias}"
    if kind == "message":
        level = event.get("level", "info")
        return str(event["text"]) if level == "info" else f"{level}: {event['text']}"
    # What a kind tells of its own is shown as it says it.
    return str(event["text"]) if kind not in _OURS and event.get("text") else None


def step_text(event: Event) -> str:
    """A `step` event as one line.

    >>> step_text({"step": 5, "steps": 10, "loss": 0.25, "eta_s": 3.0})
    'step 5/10, loss 0.25, 3.0 s left'
    """
    parts = [f"epoch {_of(event, 'epoch')}"] if event.get("epoch") else []
    parts.append(f"step {_of(event, 'step')}")
    if event.get("loss") is not None:
        parts.append(f"loss {text_of(event['loss'])}")
    if event.get("samples_per_s"):
        parts.append(f"{event['samples_per_s']:.0f} samples/s")
    if event.get("eta_s") is not None:
        parts.append(f"{duration(event['eta_s'])} left")
    return ", ".join(parts)


def metrics_text(metrics: Mapping[str, Any], *, limit: int | None = None) -> str:
    """Metrics as `name value, …`, those per class left out; the first `limit` of them."""
    shown = [f"{name} {text_of(value)}" for name, value in metrics.items() if "[" not in name]
    return ", ".join(shown[:limit])


class PlainDisplay:
    """One line an event; of steps, one in ten seconds of the run's own time.

    Args:
        write: takes each line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last_step_ms: int | None = None

    def show(self, event: Event) -> None:
        if self._last_step_ms is None:
            # What the command itself says of a driver that died has no time.
            self._last_step_ms = event.get("time")
        if event["event"] == "step":
            if event["time"] - self._last_step_ms < _STEP_LINE_MS:
                return
            self._last_step_ms = event["time"]
            self._write(step_text(event))
        elif (line := describe(event)) is not None:
            self._write(line)

    def close(self) -> None:
        return None


class LiveDisplay:
    """A progress bar, or the table that the kind tells, stays in place; other events are lines above it."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._bar: Progress | None = None
        self._table: Live | None = None
        self._task: Any = None
        self._metrics = ""
        self._status: Any = out.status("starting")
        self._status.start()

    def show(self, event: Event) -> None:
        from rich.text import Text

        if event["event"] == "step":
            self._step(event)
            return
        if event["event"] == "table":
            self._show_table(event)
            return
        if event["event"] == "epoch":
            self._metrics = metrics_text(event.get("metrics") or {}, limit=2)
        if event["event"] == "state":
            text = str(event["state"]) + (f": {event['message']}" if event.get("message") else "")
            self._status.update(Text(text))
            if (self._bar or self._table) and event["state"] not in EXIT_CODES:
                self._out.print(text, markup=False)  # the status has given way to the bar or the table
            return
        if self._table is not None and event["event"] not in _OURS:
            return  # the table says it
        if (line := describe(event)) is not None:
            self._out.print(line, markup=False)

    def close(self) -> None:
        self._status.stop()
        if self._bar is not None:
            self._bar.stop()
        if self._table is not None:
            self._table.stop()

    def _show_table(self, event: Event) -> None:
        from rich.live import Live

        table = table_of(event)
        if self._table is None:
            self._status.stop()
            self._table = Live(table, console=self._out, refresh_per_second=4)
            self._table.start()
        else:
            self._table.update(table)

    def _step(self, event: Event) -> None:
        if self._bar is None:
            self._status.stop()
            self._bar = self._new_bar()
            self._task = self._bar.add_task("", total=event.get("steps"), text="")
            self._bar.start()
        text = step_text(event) + (f", {self._metrics}" if self._metrics else "")
        self._bar.update(self._task, completed=event["step"], total=event.get("steps"), text=text)

    def _new_bar(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn

        return Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._out,
            refresh_per_second=5,
        )


def table_of(event: Event) -> Table:
    """What an event `table` tells: `columns`, `rows` of as many cells, and a `title`; a column `state` has colours."""
    from rich.table import Table
    from rich.text import Text

    names = [str(name) for name in event["columns"]]
    title = Text(str(event["title"]), style="dim") if event.get("title") else None
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left"
    )
    for name in names:
        table.add_column(Text(name), no_wrap=True)
    for row in event["rows"]:
        styled = zip(names, map(text_of, row), strict=True)
        table.add_row(
            *(Text(cell, style=STATE_STYLES.get(cell, "") if name == "state" else "") for name, cell in styled)
        )
    return table


def show_summary(summary: Mapping[str, Any], *, spec: Path, folder: Path, has_journal: bool = False) -> None:
    """The end of a run: what came out, and where to look.

    Args:
        summary: state, run_id, reason, message, metrics, registered.
        spec: the file that it was started with.
        folder: the run's own folder.
        has_journal: whether it wrote down what it goes on from.
    """
    from rich.text import Text

    out = console()
    state = str(summary["state"])
    lines: list[tuple[str, str]] = [("state", state)]
    lines += [(name, str(summary[name])) for name in ("reason", "message") if summary.get(name)]
    if summary.get("metrics"):
        lines.append(("metrics", metrics_text(summary["metrics"])))
    registered = summary.get("registered") or {}
    if registered:
        alias = registered.get("alias")
        lines.append(("model", f"{registered['model']} version {registered['version']}"))
        lines.append(("alias", str(alias) if alias else "none: a candidate"))
        lines += [("gate", str(sentence)) for sentence in registered.get("gate") or []]
    run_id = summary["run_id"]
    short = short_id(run_id)
    if state != "succeeded" and (has_journal or (folder / "checkpoints").exists()):
        lines.append(("resume", f"forgeline run {shlex.quote(str(spec))} --resume {short}"))
    lines += [("folder", str(folder)), ("look", f"forgeline runs show {short}"), ("", "forgeline ui")]
    text = Text()
    for index, (name, value) in enumerate(lines):
        style = STATE_STYLES.get(state, "") if name == "state" else ""
        text.append(f"{name:<8} ", style="dim").append(value, style=style)
        text.append("" if index == len(lines) - 1 else "\n")
    if not out.is_terminal:
        out.print(text)
        return
    from rich.panel import Panel

    out.print(Panel(text, title=f"run {run_id}", border_style=STATE_STYLES.get(state, ""), expand=False))


def _of(event: Event, key: str) -> str:
    total = event.get(f"{key}s")
    return f"{event.get(key)}/{total}" if total else str(event.get(key))
