"""`forgeline sweeps`: what sweeps there are, and what came of their trials."""

from __future__ import annotations

import typer

from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.render import Format, FormatOption, minute, short_id, show_rows

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)


@app.callback()
def root() -> None:
    """List and show sweeps, stop one of their trials, or ask for it again."""


@app.command("list")
def list_sweeps(form: FormatOption = Format.TABLE) -> None:
    """List sweeps, newest first."""
    from forgeline.ledger.ledger import open_ledger

    rows = [
        {
            "id": record.id if form is Format.JSON else short_id(record.id),
            "name": record.name,
            "state": record.state,
            "created": record.created if form is Format.JSON else minute(record.created),
        }
        for record in open_ledger().list_runs(kind="sweep")
    ]
    show_rows(
        rows, ["id", "name", "state", "created"], form=form, empty="no sweep yet; `forgeline run SPEC` starts one"
    )
