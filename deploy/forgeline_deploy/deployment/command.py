"""`forgeline deployments`: what is served, where, in which version; its logs; and a stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.logs import RunLog, Source
from forgeline.cli.render import Format, FormatOption, duration, minute, short_id, show_json, show_pairs, show_rows
from forgeline.errors import NotFinished, NotFound, UsageError
from forgeline.launching.events import NOT_FINISHED, exit_code
from forgeline_deploy.deployment.standing import Standing, standing

if TYPE_CHECKING:
    from forgeline.api import Run
    from forgeline_deploy.control.steps import Wish

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)

_POLL_S = 0.2


def _names(incomplete: str) -> list[str]:
    return completion.run_names_of("deployment", incomplete)


DeploymentArgument = Annotated[
    str,
    typer.Argument(
        metavar="DEPLOYMENT",
        help="Name (its newest deployment), id, or unique start of an id.",
        autocompletion=_names,
    ),
]


@app.callback()
def root() -> None:
    """List, show and stop deployments, and read their logs."""


@app.command("list")
def list_deployments(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    form: FormatOption = Format.TABLE,
) -> None:
    """List deployments, newest first, with the version that each serves and its address."""
    from forgeline.ledger.ledger import open_ledger

    ledger = open_ledger()
    found = [standing(ledger, record) for record in ledger.list_runs(kind="deployment", limit=limit)]
    rows = [_row(one) for one in found]
    if form is Format.TABLE:
        rows = [
            row | {"id": short_id(row["id"]), "created": minute(row["created"]), "took": duration(row["took_s"])}
            for row in rows
        ]
    columns = ["id", "name", "state", "model", "version", "url", "created", "took"]
    show_rows(rows, columns, form=form, empty="no deployment yet; `forgeline run SPEC` starts one")


@app.command("show")
def show(deployment: DeploymentArgument, form: FormatOption = Format.TABLE) -> None:
    """Show one deployment: what it serves and where, and whether it answers now."""
    _, found = _found(deployment)
    details = _row(found) | {
        "reason": found.reason,
        "digest": found.digest,
        "reference": found.reference,
        "ready": found.answers(),
        "message": found.message,
    }
    if form is Format.JSON:
        show_json(details)
        return
    shown = dict(details) | {"took": duration(details["took_s"])}
    shown.pop("took_s")
    show_pairs(list(shown.items()))


@app.command("logs")
def logs(
    deployment: DeploymentArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the deployment ends.")] = False,
    source: Annotated[
        Source | None, typer.Option(help="Only what it told, what its processes wrote, or its driver.")
    ] = None,
) -> None:
    """Show what a deployment told, and what its ingress and replicas wrote."""
    run, _ = _found(deployment)
    sources = list(Source) if source is None else [source]
    log = RunLog(run, sources=sources, attempt=None, rank=None, write=lambda line: print(line, flush=True))
    if not follow:
        log.show()
        return
    try:
        state = log.follow()
    except KeyboardInterrupt:
        raise typer.Exit(NOT_FINISHED) from None
    raise typer.Exit(exit_code(state))


@app.command("traffic")
def traffic(
    deployment: DeploymentArgument,
    pause: Annotated[bool, typer.Option("--pause", help="Let the rollout stay in the step that it is in.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let a paused rollout go on.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the rollout: the champion answers all again.")] = False,
    why: Annotated[str, typer.Option(help="Reason, kept in the journal.")] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """Show who answers which share of the requests, and how a rollout stands; pause, resume or cancel it.

    Exit codes: 0 done, 2 there is no rollout to pause, resume or cancel, 102 no such deployment.
    """
    from forgeline.ledger.ledger import open_ledger
    from forgeline_deploy.control.steps import steer, traffic_now

    run, found = _found(deployment)
    wishes: tuple[tuple[Wish, bool], ...] = (("pause", pause), ("resume", resume), ("cancel", cancel))
    chosen = [wish for wish, given in wishes if given]
    if len(chosen) > 1:
        raise UsageError(f"got --{' and --'.join(chosen)}; give one of them")
    ledger = open_ledger()
    for wish in chosen:
        steer(ledger, run.record, wish, why=why or f"{wish} by hand")
    told = traffic_now(ledger, run.record)
    if form is Format.JSON:
        show_json(told)
        return
    show_rows(told["traffic"], ["stream", "share"], form=form, empty=f"{found.name} serves nothing yet")
    if told["rollout"] is not None:
        print()
        show_pairs(list(told["rollout"].items()))


@app.command("stop")
def stop(
    deployment: DeploymentArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it has stopped.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 60.0,
) -> None:
    """Stop a deployment: it takes no further request, answers those that it has, and ends.

    Exit codes: 0 it has stopped, or was over, 101 it has not stopped in time, 102 no such deployment.
    """
    run, found = _found(deployment)
    if found.is_final:
        print(f"{found.name} is over already: {found.state}")
        return
    run.cancel()
    until = time.monotonic() + timeout
    while wait and not run.record.is_final:
        if time.monotonic() >= until:
            raise NotFinished(f"{found.name} has not stopped within {timeout:g} s; it was asked to, and may yet")
        time.sleep(_POLL_S)
    print(f"{found.name} {'has stopped' if run.record.is_final else 'was asked to stop'}")


def _found(reference: str) -> tuple[Run, Standing]:
    from forgeline import api
    from forgeline.ledger.ledger import open_ledger

    run = api.get(reference)
    if run.record.kind != "deployment":
        raise NotFound(f"{reference!r} is a run of kind {run.record.kind}, no deployment; `forgeline runs show` has it")
    return run, standing(open_ledger(), run.record)


def _row(found: Standing) -> dict[str, Any]:
    return {
        "id": found.run_id,
        "name": found.name,
        "state": found.state,
        "model": found.model,
        "version": found.version,
        "url": found.url,
        "created": found.created,
        "took_s": found.took_s,
    }
