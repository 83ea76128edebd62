"""Arguments and options that the commands of `forgeline models` share, and how they tell of a move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forgeline.cli import completion
from forgeline.errors import GateRefused

if TYPE_CHECKING:
    from forgeline.ledger.records import AliasMove
    from forgeline.registry.models import Registry

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

GateOption = Annotated[
    str | None,
    typer.Option("--gate", metavar="FILE|YAML", help="Only if it passes: a gate as under `register.gate`."),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE|YAML",
        help="With --gate: samples to measure on, a table or a `data` block; those of its training without it.",
    ),
]


def through_gate(
    registry: Registry,
    model: str,
    version: int,
    alias: str,
    *,
    why: str,
    expect: int | Literal["none"] | None,
    gate: str,
    data: str | None,
) -> None:
    """Promote a version that passes a gate, and tell what the gate saw.

    Raises:
        GateRefused: it does not pass; nothing was moved.
    """
    from forgeline.registry.gate_reading import read_gate
    from forgeline.registry.promotion import keeper_of, promote_through

    keeper = keeper_of(registry, model, version, read_gate(gate), data=data)
    verdict = promote_through(registry, keeper, model, version, alias, expect=expect, why=why)
    for held, reason in zip(verdict.held, verdict.reasons, strict=True):
        print(f"{'held' if held else 'not held'}: {reason}")
    if not verdict.passed:
        raise GateRefused(f"version {version} of {model!r} does not pass the gate; {alias} was not moved")
    print(f"{alias} of {model} is version {version}")


def move_text(move: AliasMove) -> str:
    """A move in a sentence."""
    before = f"was version {move.from_version}" if move.from_version is not None else "new"
    return f"{move.alias} of {move.model} is version {move.to_version} ({before})"
