"""`forgeline retraining`: what a deployment wants to train again, and a person's consent."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.render import Format, FormatOption, local_time, short_id, show_json, show_rows
from forgeline.errors import UsageError
from forgeline_deploy.alerts.command import DeploymentArgument, Written

if TYPE_CHECKING:
    from forgeline_deploy.retraining.retraining import Retrainings

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)


@app.callback()
def root() -> None:
    """Retrainings of a deployment."""


@app.command("list")
def list_retrainings(deployment: DeploymentArgument, form: FormatOption = Format.TABLE) -> None:
    """List a deployment's retrainings, newest first."""
    from forgeline.ledger.ledger import open_ledger
    from forgeline_deploy.retraining.retraining import Retrainings

    ledger = open_ledger()
    found = Retrainings(Written(ledger.journal(ledger.get(deployment).id)))
    rows = [attempt.row() for attempt in reversed(found.all)]
    if form is Format.TABLE:
        rows = [_for_screen(row) for row in rows]
    columns = ["number", "stage", "outcome", "version", "run", "why", "wanted", "by", "summary", "message"]
    show_rows(rows, columns, form=form, empty="no retraining was wanted yet")


@app.command("approve")
def approve(deployment: DeploymentArgument, form: FormatOption = Format.TABLE) -> None:
    """Let the retraining that a deployment wants begin."""
    done = _retrainings(deployment).approve(getpass.getuser(), time.time())
    _told(done.row(), form)


@app.command("refuse")
def refuse(
    deployment: DeploymentArgument,
    why: Annotated[str, typer.Option("--why", help="For those who read the list later.")] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """Do not let the retraining that a deployment wants begin."""
    done = _retrainings(deployment).refuse(getpass.getuser(), time.time(), message=why)
    _told(done.row(), form)


def _retrainings(deployment: str) -> Retrainings:
    from forgeline.ledger.journal import Journal
    from forgeline.ledger.ledger import open_ledger
    from forgeline_deploy.retraining.retraining import Retrainings

    ledger = open_ledger()
    record = ledger.get(deployment)
    if record.is_final:
        raise UsageError(f"run {record.id} has ended ({record.state}); only a deployment that goes on trains again")
    return Retrainings(Journal(ledger, record))


def _told(row: dict[str, Any], form: Format) -> None:
    if form is Format.JSON:
        show_json(row)
    else:
        print(f"retraining {row['number']}: {row['stage']} by {row['by']}")


def _for_screen(row: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    wanted = local_time(datetime.fromtimestamp(row["wanted"], UTC))
    return row | {"wanted": wanted, "run": short_id(row["run"]), "stage": str(row["stage"])}
