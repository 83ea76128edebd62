"""`forgeline runs sync`: sends by hand what never reached the tracking store, such as after an outage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.render import Format, FormatOption, short_id, show_rows
from forgeline.errors import NotFinished, NotFound, TrackingError, UsageError

if TYPE_CHECKING:
    from forgeline.api import Run


def sync(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN…",
            help="Ids, unique starts of ids, or names (their newest runs).",
            autocompletion=completion.runs,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run that has ended.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Send the tracking store what it has not got of runs that ended: metric points, and how they ended."""
    if bool(runs) == every:
        got = "both" if every else "neither"
        raise UsageError(f"sync takes runs or --all, got {got}; `forgeline runs list` shows the runs")
    wanted = _ended() if every else _named(runs or [])
    if wanted:
        _check_store()
    rows = [row for run in wanted if (row := _row(run, skip_unknown=every)) is not None]
    # Of many runs only those with news.
    shown = [
        row for row in rows if not every or form is Format.JSON or any(row[key] for key in ("sent", "left", "error"))
    ]
    if form is Format.TABLE:
        shown = [row | {"id": short_id(row["id"])} for row in shown]
    show_rows(shown, ["id", "name", "state", "sent", "left"], form=form, empty="nothing is left to be sent")
    errors = [f"run {row['id']}: {row['error']}" for row in rows if row["error"]]
    if errors:
        raise TrackingError("; ".join(errors))


def _named(references: list[str]) -> list[Run]:
    from forgeline import api

    found = {run.id: run for run in map(api.get, references)}
    for run in found.values():
        # Before anything is sent.
        if not run.record.is_final:
            raise NotFinished(f"run {run.id} is {run.state}; its driver sends its points while it goes on")
    return list(found.values())


def _ended() -> list[Run]:
    from forgeline import api
    from forgeline.ledger.ledger import open_ledger
    from forgeline.ledger.states import FINAL

    found = [api.get(record.id) for record in open_ledger().list_runs(state=FINAL, parts=True)]
    # The spools of others are on the machines that they ran on.
    return [run for run in found if run.paths.root.is_dir()]


def _check_store() -> None:
    """One answer for all runs when nobody is there."""
    from forgeline.settings import settings
    from forgeline.tracking.tracker import Tracker

    environment = settings()
    Tracker(environment.resolved_tracking_uri, environment.artifact_root).check()


def _row(run: Run, *, skip_unknown: bool) -> dict[str, Any] | None:
    from forgeline.launching.streaming import told_damage

    row = {"id": run.id, "name": run.name, "state": run.state}
    try:
        done = run.sync()
    except (NotFound, NotFinished) as error:
        # Deleted there, or tracked in another store; or resumed since it was listed, and its driver sends its points.
        return None if skip_unknown else row | {"sent": 0, "left": None, "damaged_lines": 0, "error": str(error)}
    if done.damaged:
        print(f"warning: run {run.id}: {told_damage(done.damaged)}", file=sys.stderr)
    return row | {"sent": done.sent, "left": done.left, "damaged_lines": done.damaged, "error": done.error}
