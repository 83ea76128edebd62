"""`forgeline audit`: whether the history of aliases is what was written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.render import Format, FormatOption, show_json, show_rows
from forgeline.errors import HistoryTampered, NotFound, UsageError
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    from forgeline.ledger.alias_chain import Chain
    from forgeline.ledger.records import AliasMove

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Makes a group of the one command that there is."""


@app.command("verify")
def verify(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Of this model only.", autocompletion=completion.models),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A hash of MODEL that was kept: the chain must still lead through it."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compute the chains of hashes over the history of aliases again."""
    from forgeline.ledger.alias_history import open_alias_history

    kept = None if head is None else _kept_head(head, model)
    history = open_alias_history()
    chains = history.chains(model)
    if model is not None and not chains and kept is None:
        known = [chain.model for chain in history.chains()]
        raise NotFound(f"no alias of {model!r} ever moved; {did_you_mean(model, known)}")
    faults = [f"the history of {chain.model!r} does not fit from {chain.fault}" for chain in chains if chain.fault]
    approvals = history.chains(model, approvals=True)
    faults += [f"the approvals of {chain.model!r} do not fit from {chain.fault}" for chain in approvals if chain.fault]
    if kept is not None and not any(kept in chain.hashes for chain in (*chains, *approvals)):
        faults.append(f"--head: no row of {model!r} that fits has the hash {kept}: rows were removed or written anew")
    if form is Format.JSON:
        show_json(_report(chains, approvals, history.intended(model), faults))
    elif not faults:
        _show(chains, approvals, history.intended(model))
    if faults:
        raise HistoryTampered("\n".join(faults))


def _kept_head(head: str, model: str | None) -> str:
    if model is None:
        raise UsageError(f"--head: got {head[:80]!r} without MODEL; name the model that it is of")
    if re.fullmatch(r"[0-9a-fA-F]{64}", head) is None:
        raise UsageError(f"--head: got {head[:80]!r}; allowed: the 64 hexadecimal digits that `audit verify` printed")
    return head.lower()


def _report(chains: list[Chain], approvals: list[Chain], begun: list[AliasMove], faults: list[str]) -> dict[str, Any]:
    told = {"approvals": [_told(chain) for chain in approvals]} if approvals else {}
    return {
        "fits": not faults,
        "rows": sum(chain.rows for chain in chains),
        "models": [_told(chain) for chain in chains],
        **told,
        "unfinished": [{"model": move.model, "alias": move.alias, "to": move.to_version} for move in begun],
        "faults": faults,
    }


def _told(chain: Chain) -> dict[str, Any]:
    return {
        "model": chain.model,
        "rows": chain.rows,
        "fitting": len(chain.hashes),
        "head": chain.head,
        "fault": chain.fault,
    }


def _show(chains: list[Chain], approvals: list[Chain], begun: list[AliasMove]) -> None:
    rows = [{"model": chain.model, "rows": chain.rows, "head": chain.head} for chain in chains]
    show_rows(rows, ["model", "rows", "head"], form=Format.TABLE, empty="no alias of any model ever moved")
    for move in begun:
        print(
            f"\n{move.alias} of {move.model} is being moved to version {move.to_version}, or a process died at it: "
            f"`forgeline models history {move.model}` settles it"
        )
    if chains:
        models = "1 model" if len(chains) == 1 else f"{len(chains)} models"
        count = sum(chain.rows for chain in chains)
        print(f"\n{count} row{'' if count == 1 else 's'} of {models}: all fit")
    for chain in approvals:
        print(f"approvals of {chain.model}: {chain.rows} rows, head {chain.head}: all fit")
