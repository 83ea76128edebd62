"""`forgeline alerts`: what a deployment raised, and whom it reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.render import Format, FormatOption, local_time, show_rows
from forgeline.errors import UsageError

if TYPE_CHECKING:
    from forgeline.ledger.decisions import Entry

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)

DeploymentArgument = Annotated[
    str,
    typer.Argument(
        metavar="DEPLOYMENT", help="Id, unique start of an id, or name of its run.", autocompletion=completion.runs
    ),
]


class Written:
    """A journal that is only read."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)

    def since(self, number: int) -> Sequence[Entry]:
        return self._entries[number:]

    def append(self, *entries: Entry) -> None:
        raise UsageError("a listing writes nothing")

    def refresh(self) -> Sequence[Entry]:
        return ()


@app.callback()
def root() -> None:
    """Alerts of a deployment."""


@app.command("list")
def list_alerts(
    deployment: DeploymentArgument,
    open_: Annotated[bool, typer.Option("--open", help="Only those that last.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """List a deployment's alerts, newest first, and whom they have not reached."""
    from forgeline.ledger.ledger import open_ledger

    ledger = open_ledger()
    rows = alert_rows(ledger.journal(ledger.get(deployment).id))
    rows = [row for row in rows if not open_ or row["resolved"] is None]
    if form is Format.TABLE:
        rows = [_for_screen(row) for row in rows]
    columns = ["alert", "severity", "kind", "subject", "model", "first", "last", "resolved", "told", "undelivered"]
    show_rows(rows, [*columns, "summary"], form=form, empty="no alert")


def alert_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Alerts of a deployment's journal as JSON values, newest first; moments in unix seconds."""
    from forgeline_deploy.alerts.book import AlertBook, Standing
    from forgeline_deploy.alerts.outbox import Delivery, Outbox

    past: list[Standing] = []
    book, outbox = AlertBook(Written(entries), (), over=past.append), Outbox(Written(entries))
    waiting: dict[str, list[dict[str, Any]]] = {}
    lost: Sequence[Delivery] = outbox.given_up
    for delivery in [*outbox.waiting, *lost]:
        notice = delivery.notice
        told: dict[str, Any] = {"to": delivery.to, "notice": notice.idempotency_key, "event": str(notice.event)}
        told |= {"tries": delivery.tries, "error": delivery.error, "given_up": delivery in lost}
        waiting.setdefault(notice.alert.key, []).append(told)
    rows: list[dict[str, Any]] = []
    for standing in reversed([*past, *book.open]):
        alert = standing.alert
        row = {"alert": alert.key, **alert.to_dict(), "resolved": standing.resolved, "told": standing.notices}
        rows.append(row | {"undelivered": waiting.get(alert.key, [])})
    return sorted(rows, key=lambda row: float(row["first"]), reverse=True)


def _for_screen(row: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    def moment(seconds: float | None) -> str:
        return "" if seconds is None else local_time(datetime.fromtimestamp(seconds, UTC))

    undelivered = [f"{each['to']} ({'given up' if each['given_up'] else each['tries']})" for each in row["undelivered"]]
    moments = {name: moment(row[name]) for name in ("first", "last", "resolved")}
    return row | moments | {"undelivered": ", ".join(undelivered)}
