"""`forgeline runs`: what the ledger knows of past and present runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.render import Format, FormatOption, duration, local_time, show_json, show_pairs, show_rows
from forgeline.errors import NotFound, UsageError
from forgeline.launching.events import EXIT_CODES, exit_code

if TYPE_CHECKING:
    from forgeline.api import Run
    from forgeline.ledger.records import AttemptRecord, RunRecord

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id, unique start of an id, or name (its newest run).")]


@app.command("list")
def list_runs(
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only runs of this kind.")] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    form: FormatOption = Format.TABLE,
) -> None:
    """List runs, newest first."""
    from forgeline.ledger.ledger import open_ledger
    from forgeline.ledger.states import State

    if state is not None and state not in list(State):
        raise UsageError(f"--state: {state!r} is no state; known: {', '.join(State)}")
    ledger = open_ledger()
    rows = [_row(record) for record in ledger.list_runs(state=state, kind=kind, name=name, limit=limit)]
    if form is Format.TABLE:
        rows = [row | {"created": local_time(row["created"]), "took": duration(row["took"])} for row in rows]
    columns = ["id", "name", "kind", "state", "reason", "created", "took"]
    show_rows(rows, columns, form=form, empty="no run yet; `forgeline run SPEC` starts one")


@app.command("show")
def show(run: RunArgument, form: FormatOption = Format.TABLE) -> None:
    """Show all about one run on one screen."""
    from forgeline import api

    found = api.get(run)
    details = _details(found)
    if form is Format.JSON:
        show_json(details)
        return
    attempts, metrics, registered = details.pop("attempts"), details.pop("metrics"), details.pop("registered")
    pairs = [*details.items(), *_timings(found.record)]
    if registered:
        alias = registered.get("alias") or "none: a candidate"
        pairs.append(("model", f"{registered['model']} version {registered['version']}, alias {alias}"))
        pairs += [("gate", sentence) for sentence in registered.get("gate") or []]
    show_pairs(pairs)
    if metrics:
        show_pairs(sorted(metrics.items()), title="\nmetrics")
    if attempts:
        print("\nattempts")
        columns = ["number", "cause", "outcome", "reason", "message", "last_step"]
        show_rows(attempts, columns, form=form, empty="")


@app.command("logs")
def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Number of the attempt; the last without it.")] = None,
    rank: Annotated[int, typer.Option(min=0, help="Which worker.")] = 0,
) -> None:
    """Show what a worker wrote to its stdout and stderr."""
    from forgeline import api

    found = api.get(run)
    if follow:
        state = _follow_log(found, attempt, rank)
        raise typer.Exit(exit_code(state))
    path = found.paths.rank_log(attempt=attempt or _last_attempt(found), rank=rank)
    if not path.exists():
        raise NotFound(f"run {found.id} has no log of {_which(attempt or _last_attempt(found), rank, found)}")
    print(path.read_text(encoding="utf-8", errors="replace"), end="")


@app.command("wait")
def wait(
    run: RunArgument,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most.")] = None,
) -> None:
    """Wait until a run has ended; the exit code says how (101: it has not)."""
    from forgeline import api

    state = api.get(run).wait(timeout)
    print(state)
    raise typer.Exit(exit_code(state))


@app.command("cancel")
def cancel(
    run: RunArgument,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
) -> None:
    """Ask a run to save what it has and stop."""
    from forgeline import api

    found = api.get(run)
    found.cancel()
    if no_wait:
        print(f"asked run {found.id} to stop")
        return
    print(f"run {found.id}: {found.wait()}")


@app.command("compare")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Two runs or more.")],
    form: FormatOption = Format.TABLE,
) -> None:
    """Show only what differs between runs: parameters, metrics, data, code, packages."""
    from forgeline import api
    from forgeline.cli.comparison import differences
    from forgeline.settings import settings
    from forgeline.tracking.tracker import Tracker

    if len(runs) < 2:
        raise UsageError(f"compare takes two runs or more, got {len(runs)}")
    found = [api.get(reference) for reference in runs]
    environment = settings()
    rows = differences(found, Tracker(environment.resolved_tracking_uri, environment.artifact_root))
    columns = ["what", *(run.id for run in found)]
    show_rows(rows, columns, form=form, empty="these runs do not differ")


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "kind": record.kind,
        "state": str(record.state),
        "reason": None if record.reason is None else str(record.reason),
        "created": record.created,
        "took": record.duration_s,
    }


def _details(run: Run) -> dict[str, Any]:
    record = run.record
    return {
        "run": record.id,
        "name": record.name,
        "kind": record.kind,
        "state": str(record.state),
        "reason": None if record.reason is None else str(record.reason),
        "message": record.message,
        "priority": record.priority or None,
        "labels": dict(record.labels) or None,
        "cluster": record.cluster,
        "folder": str(run.paths.root),
        "metrics": run.metrics,
        "registered": run.result.get("registered"),
        "attempts": [_attempt_row(attempt) for attempt in run.attempts],
    }


def _timings(record: RunRecord) -> list[tuple[str, Any]]:
    waited = None if record.started is None else (record.started - record.created).total_seconds()
    return [
        ("created", record.created),
        ("waited", duration(waited) if record.attempts <= 1 else None),
        ("started", record.started),
        ("ended", record.ended),
        ("took", duration(record.duration_s)),
    ]


def _attempt_row(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "cause": attempt.cause,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "message": attempt.message,
        "first_step": attempt.first_step,
        "last_step": attempt.last_step,
        "started": attempt.started,
        "ended": attempt.ended,
    }


def _last_attempt(run: Run) -> int:
    return max(run.record.attempts, 1)


def _which(attempt: int, rank: int, run: Run) -> str:
    known = sorted(path.stem.removeprefix("rank") for path in run.paths.attempt(attempt).glob("rank*.log"))
    has = f"that attempt has ranks {', '.join(known)}" if known else "that attempt has none"
    return f"rank {rank} in attempt {attempt}; {has}"


def _follow_log(run: Run, attempt: int | None, rank: int) -> str:
    """Print a worker's log until the run has ended, its next attempts too; returns the state."""
    position, number = 0, attempt or _last_attempt(run)
    while True:
        # Looked at before the log is read: what is read afterwards is all there will be.
        state, newest = run.state, attempt or _last_attempt(run)
        complete = newest != number or state in EXIT_CODES
        position = _print_from(run.paths.rank_log(attempt=number, rank=rank), position, to_the_end=complete)
        if newest != number:
            position, number = 0, newest
        elif complete:
            return state
        else:
            time.sleep(0.3)


def _print_from(path: Path, position: int, *, to_the_end: bool) -> int:
    try:
        with path.open("rb") as file:
            file.seek(position)
            chunk = file.read()
    except FileNotFoundError:
        return position
    # A line, or character, cut in two by the end of the file waits for its other half.
    whole = chunk if to_the_end else chunk[: chunk.rfind(b"\n") + 1]
    print(whole.decode("utf-8", "replace"), end="", flush=True)
    return position + len(whole)
