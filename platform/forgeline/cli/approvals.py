"""`forgeline models protect`, `approve` and `proposals`: moves of an alias that take more than one person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forgeline.cli.model_options import AliasOption, ExpectOption, NameArgument, WhyOption, move_text
from forgeline.cli.render import Format, FormatOption, minute, show_rows


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of `models`."""
    app.command("protect")(protect)
    app.command("approve")(approve)
    app.command("proposals")(proposals)


def protect(
    model: NameArgument,
    approvals: Annotated[int, typer.Option(help="Persons that it takes, the proposer among them; 1: no protection.")],
    alias: AliasOption = "champion",
    why: WhyOption = "",
) -> None:
    """Let promotions to an alias take more than one person. Fewer than now must be approved itself."""
    from forgeline.registry import approving
    from forgeline.registry.models import open_registry

    done = approving.protect(open_registry(), model, approvals, alias, why=why)
    people = "1 person" if done.approvals == 1 else f"{done.approvals} persons"
    print(f"moving {alias} of {model} takes {people}")


def approve(
    model: NameArgument,
    version: Annotated[
        int | None, typer.Argument(min=1, help="Version that was proposed; without it, a change of the protection.")
    ] = None,
    alias: AliasOption = "champion",
    expect: ExpectOption = None,
) -> None:
    """Agree to a move that another person proposed; with enough persons it is made."""
    from forgeline.registry import approving
    from forgeline.registry.aliases import expected_version
    from forgeline.registry.models import open_registry

    expected = None if expect is None else expected_version(expect)
    move = approving.approve(open_registry(), model, version, alias, expect=expected)
    print(f"the protection of {alias} of {model} is changed" if move is None else move_text(move))


def proposals(model: NameArgument, form: FormatOption = Format.TABLE) -> None:
    """Show what was proposed of a model's protected aliases, who agreed, and what came of it."""
    from forgeline.registry import approving
    from forgeline.registry.models import open_registry

    rows: list[dict[str, Any]] = []
    for one in approving.proposals_of(open_registry(), model):
        event = one.event
        rows.append(
            {
                "proposal": event.number,
                "proposed": minute(event.moved) if form is Format.TABLE else event.moved,
                "alias": event.alias,
                "version": event.version,
                "persons": one.needed if event.version is not None else event.approvals,
                "agree": ", ".join(one.by) if form is Format.TABLE else one.by,
                "status": one.status,
                "told": one.told,
                "why": event.why,
            }
        )
    columns = ["proposal", "proposed", "alias", "version", "agree", "status", "told", "why"]
    show_rows(rows, columns, form=form, empty=f"nothing was proposed of {model}; `models protect` asks for approvals")
