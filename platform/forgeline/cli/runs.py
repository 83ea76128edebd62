"""`forgeline runs`: what the ledger knows of past and present runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline import plugins
from forgeline.cli import attempts, completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.logs import RunLog, Source
from forgeline.cli.progress import step_text
from forgeline.cli.render import Format, FormatOption, duration, minute, short_id, show_json, show_pairs, show_rows
from forgeline.cli.sync import sync
from forgeline.errors import UsageError
from forgeline.launching.events import NOT_FINISHED, exit_code, newest_event

if TYPE_CHECKING:
    from forgeline.api import Run
    from forgeline.ledger.records import RunRecord

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)
app.command("sync")(sync)

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Id, unique start of an id, or name (its newest run).", autocompletion=completion.runs
    ),
]


@app.command("list")
def list_runs(
    state: Annotated[
        str | None, typer.Option(help="Only runs in this state.", autocompletion=completion.states)
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only runs of this kind.", autocompletion=completion.kinds)] = None,
    name: Annotated[
        str | None, typer.Option(help="Only runs of this name.", autocompletion=completion.run_names)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    form: FormatOption = Format.TABLE,
) -> None:
    """List runs, newest first."""
    from forgeline.ledger.ledger import open_ledger
    from forgeline.ledger.states import State

    if state is not None and state not in list(State):
        raise UsageError(f"--state: {state!r} is no state; known: {', '.join(State)}")
    ledger = open_ledger()
    kinds = {*plugins.names(plugins.KINDS), *(ledger.known("kind") if kind is not None else [])}
    if kind is not None and kind not in kinds:
        raise UsageError(f"--kind: {kind!r} is no kind; known: {', '.join(sorted(kinds))}")
    found = ledger.list_runs(state=state, kind=kind, name=name, limit=limit)
    rows = [_row(record, ledger.took_s(record.id)) for record in found]
    if form is Format.TABLE:
        rows = [_short(row) for row in rows]
    columns = ["id", "name", "kind", "state", "created", "took"]
    none = "no run matches" if ledger.known("id", limit=1) else "no run yet; `forgeline run SPEC` starts one"
    show_rows(rows, columns, form=form, empty=none)


@app.command("show")
def show(run: RunArgument, form: FormatOption = Format.TABLE) -> None:
    """Show all about one run on one screen."""
    from forgeline import api

    found = api.get(run)
    details = _details(found)
    if form is Format.JSON:
        show_json(details)
        return
    show_pairs(_pairs(found, details))
    if details["metrics"]:
        show_pairs(sorted(details["metrics"].items()), title="\nmetrics")
    if details["attempts"]:
        print("\nattempts")
        rows = attempts.for_screen(details["attempts"])
        show_rows(rows, [name for name in attempts.COLUMNS if any(row[name] for row in rows)], form=form, empty="")


@app.command("logs")
def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    source: Annotated[
        Source | None, typer.Option(help="Only what the run told, its workers wrote, or its driver wrote.")
    ] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only the attempt of this number.")] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Only what this worker wrote.")] = None,
) -> None:
    """Show what a run told, as `run` shows it, then what its workers and its driver wrote."""
    from forgeline import api

    if rank is not None and source not in (None, Source.WORKERS):
        raise UsageError(f"--rank names a worker and --source says {source}; leave one of them out")
    sources = list(Source) if source is None else [source]
    log = RunLog(
        api.get(run),
        sources=sources if rank is None else [Source.WORKERS],
        attempt=attempt,
        rank=rank,
        write=lambda line: print(line, flush=True),
    )
    if not follow:
        log.show()
        return
    try:
        state = log.follow()
    except KeyboardInterrupt:
        # Who looks on has seen enough; the run goes on.
        raise typer.Exit(NOT_FINISHED) from None
    raise typer.Exit(exit_code(state))


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
    force: Annotated[
        bool, typer.Option("--force", help="Its host is gone for good: write the run down as failed.")
    ] = False,
) -> None:
    """Ask a run to save what it has and stop."""
    from forgeline import api

    found = api.get(run)
    if force:
        found.give_up()
        print(f"run {found.id}: {found.state}")
        return
    found.cancel()
    if no_wait:
        print(f"asked run {found.id} to stop")
        return
    print(f"run {found.id}: {found.wait()}")


@app.command("compare")
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Two runs or more.", autocompletion=completion.runs)
    ],
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
    if form is Format.TABLE:
        rows = [{short_id(key) if key in columns[1:] else key: value for key, value in row.items()} for row in rows]
        columns = ["what", *map(short_id, columns[1:])]
    show_rows(rows, columns, form=form, empty="these runs do not differ")


def _row(record: RunRecord, took_s: float | None) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "kind": record.kind,
        "state": str(record.state),
        "reason": None if record.reason is None else str(record.reason),
        "created": record.created,
        "took_s": took_s,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it fits on a screen; a reason that only repeats the state is left out."""
    state, reason = row["state"], row["reason"]
    told = f"{state}: {reason}" if reason not in (None, state) else state
    return row | {
        "id": short_id(row["id"]),
        "state": told,
        "created": minute(row["created"]),
        "took": duration(row["took_s"]),
    }


def _details(run: Run) -> dict[str, Any]:
    """All about a run, as JSON has it."""
    from forgeline.spec.source import read_document

    record, result = run.record, run.result
    row, told = _row(record, run.took_s), attempts.rows(run.attempts)
    return {
        "run": row.pop("id"),
        **row,
        "started": record.started,
        "ended": record.ended,
        "message": record.message,
        "priority": record.priority,
        "labels": dict(record.labels),
        "cluster": record.cluster,
        "folder": str(run.paths.root),
        "model": read_document(record.spec).data.get("model"),
        "progress": None if record.is_final else _progress(run),
        "step": result.get("step"),
        "metrics": run.metrics,
        "registered": result.get("registered"),
        "attempts": told,
        **attempts.totals(told),
    }


def _progress(run: Run) -> dict[str, Any] | None:
    """Step, epoch and time left, as the run told them last."""
    told = newest_event(run.paths.events, "step")
    keys = ("step", "steps", "epoch", "epochs", "loss", "samples_per_s", "eta_s")
    return None if told is None else {key: told.get(key) for key in keys}


def _pairs(run: Run, details: dict[str, Any]) -> list[tuple[str, Any]]:
    """The same for a screen, without what says nothing."""
    record, registered = run.record, details["registered"]
    waited = None if record.started is None else (record.started - record.created).total_seconds()
    told = {name: details[name] for name in ("run", "name", "kind", "state", "reason", "message")}
    told |= {"progress": step_text({"event": "step", **details["progress"]}) if details["progress"] else None}
    told |= {"model": details["model"], "priority": record.priority or None, "labels": dict(record.labels) or None}
    told |= {"cluster": record.cluster, "folder": details["folder"], "created": record.created}
    told |= {"waited": duration(waited) if record.attempts <= 1 else None, "started": record.started}
    told |= {"ended": record.ended, "took": duration(details["took_s"]), "chosen step": details["step"]}
    told |= {"lost": attempts.totals_in_words(details), "choice": attempts.why_in_words(details["attempts"])}
    pairs = list(told.items())
    if registered:
        alias = registered.get("alias") or "none: a candidate"
        pairs.append(("registered", f"{registered['model']} version {registered['version']}, alias {alias}"))
        pairs += [("gate", sentence) for sentence in registered.get("gate") or []]
    return pairs
