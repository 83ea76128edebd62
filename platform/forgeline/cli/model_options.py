"""Arguments and options that the commands of `forgeline models` share, and how they tell of a move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forgeline.cli import completion

if TYPE_CHECKING:
    from forgeline.ledger.records import AliasMove

NameArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of a registered model.", autocompletion=completion.models)
]
AliasOption = Annotated[str, typer.Option("--alias", help="The alias to move.")]
WhyOption = Annotated[str, typer.Option("--why", help="Kept in the history.")]
ExpectOption = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="VERSION",
        help="Only if the alias points at this version until then; `none`: only if no version has it.",
    ),
]


def move_text(move: AliasMove) -> str:
    """A move in a sentence."""
    before = f"was version {move.from_version}" if move.from_version is not None else "new"
    return f"{move.alias} of {move.model} is version {move.to_version} ({before})"
