"""`forgeline models`: registered models, their versions, their aliases, and who moved those when and why."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import approvals
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.model_options import (
    AliasOption,
    DataOption,
    ExpectOption,
    GateOption,
    NameArgument,
    WhyOption,
    move_text,
    through_gate,
)
from forgeline.cli.moments import moment_of
from forgeline.cli.render import (
    Format,
    FormatOption,
    local_time,
    minute,
    short_id,
    show_json,
    show_pairs,
    show_rows,
)
from forgeline.errors import ForgelineError, UsageError

if TYPE_CHECKING:
    from forgeline.ledger.records import AliasMove
    from forgeline.registry.catalogue import ModelVersion
    from forgeline.registry.evidence import Evidence

_MAIN_METRICS = 2

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)

AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="Where the aliases pointed then, such as 2026-11-30T12:00.")
]


@app.command("list")
def list_models(form: FormatOption = Format.TABLE) -> None:
    """List the registered models."""
    from forgeline.registry.models import open_registry

    rows: list[dict[str, Any]] = []
    for name, versions in open_registry().list_models().items():
        aliases = {alias: version.version for version in versions for alias in version.aliases}
        newest = versions[-1]
        rows.append({"model": name, "versions": len(versions), "aliases": aliases, "newest": newest.created})
    if form is Format.TABLE:
        rows = [row | {"newest": minute(row["newest"])} for row in rows]
    columns = ["model", "versions", "aliases", "newest"]
    show_rows(rows, columns, form=form, empty="no model yet; a train spec with `register:` makes one")


@app.command("show")
def show(
    model: NameArgument,
    version: Annotated[int | None, typer.Option(min=1, help="All about this version.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show a model's versions, or all about one of them. MODEL may be NAME/VERSION or NAME@ALIAS."""
    from forgeline.registry.models import open_registry
    from forgeline.registry.references import ModelReference, parse

    name, alias, number = model, None, version
    if "@" in model or "/" in model:
        parsed = parse(model if model.startswith("models:/") else f"models:/{model}")
        assert isinstance(parsed, ModelReference)
        name, alias, number = parsed.name, parsed.alias, version or parsed.version
    registry = open_registry()
    if alias is None and number is None:
        _show_versions(registry.show(name), form)
    else:
        found = registry.version(name, alias=alias, number=number)
        _show_version(found, registry.evidence(found), form)


@app.command("promote")
def promote(
    model: NameArgument,
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")],
    alias: AliasOption = "champion",
    why: WhyOption = "",
    expect: ExpectOption = None,
    gate: GateOption = None,
    data: DataOption = None,
) -> None:
    """Point an alias at a version; with --gate, only if it passes."""
    from forgeline.registry.aliases import expected_version
    from forgeline.registry.models import open_registry

    expected = None if expect is None else expected_version(expect)
    if gate is not None:
        through_gate(open_registry(), model, version, alias, why=why, expect=expected, gate=gate, data=data)
        return
    if data is not None:
        raise UsageError(f"--data: got {data[:80]!r} without --gate, which it is for")
    print(move_text(open_registry().promote(model, version, alias, why=why, expect=expected)))


@app.command("rollback")
def rollback(model: NameArgument, alias: AliasOption = "champion", why: WhyOption = "") -> None:
    """Point an alias at the version that it pointed to before."""
    from forgeline.registry.models import open_registry

    print(move_text(open_registry().rollback(model, alias, why=why)))


@app.command("history")
def history(
    model: NameArgument,
    alias: Annotated[str | None, typer.Option("--alias", help="Of this alias only.")] = None,
    at: AtOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show who moved which alias when, from where to where, and why; with --at, which version each pointed at then."""
    from forgeline.registry.models import open_registry

    registry = open_registry()
    moment = None if at is None else moment_of(at, option="--at")
    if moment is not None:
        moves = registry.pointed_at(model, moment, alias)
        empty = f"no {alias or 'alias'} of {model} pointed at a version at {local_time(moment)}"
    else:
        moves = registry.history(model, alias)
        empty = f"no {alias or 'alias'} of {model} ever moved"
    if not moves:
        # A model that is gone has its history still.
        registry.show(model)
    rows = [_move_row(move, pointing=moment is not None) for move in moves]
    if form is Format.TABLE:
        rows = [row | {"hash": short_id(move.hash)} for row, move in zip(rows, moves, strict=True)]
        times = "since" if moment is not None else "moved"
        rows = [row | {times: minute(move.moved)} for row, move in zip(rows, moves, strict=True)]
    columns = ["alias", "version", "since"] if moment is not None else ["moved", "alias", "from", "to"]
    show_rows(rows, [*columns, "who", "why", "hash"], form=form, empty=empty)


def _show_versions(versions: list[ModelVersion], form: Format) -> None:
    rows = [_row(version) for version in versions]
    columns = ["version", "aliases", "created", "run"]
    if form is Format.TABLE:
        main = _main_metrics(versions[-1])
        rows = [
            row | dict(version.metrics) | {"created": minute(version.created), "run": short_id(version.run_id)}
            for row, version in zip(rows, versions, strict=True)
        ]
        columns += main
    show_rows(rows, columns, form=form, empty="")
    if form is Format.TABLE and len(versions[-1].metrics) > _MAIN_METRICS:
        print(f"\nall metrics: forgeline models show {versions[-1].model}/{versions[-1].version}, or --format json")


def _show_version(version: ModelVersion, evidence: Evidence | None, form: Format) -> None:
    if form is Format.JSON:
        show_json(_row(version) | {"evidence": None if evidence is None else evidence.model_dump(mode="json")})
        return
    pairs = [(name, value) for name, value in _row(version).items() if name not in ("metrics", "tags")]
    show_pairs([*pairs, *sorted(version.tags.items())])
    show_pairs(sorted(version.metrics.items()), title="\nmetrics")
    if evidence is not None:
        told = [(("held" if one.held else "not held"), one.reason) for one in evidence.findings]
        told += [("note", note) for note in evidence.notes]
        verdict = "passed" if evidence.passed else "not passed"
        show_pairs(told, title=f"\ngate: {verdict}, judged {evidence.judged}")


def _row(version: ModelVersion) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.version,
        "aliases": version.aliases,
        "created": version.created,
        "run": version.run_id,
        "metrics": dict(version.metrics),
        "tags": dict(version.tags),
        "source": version.source,
    }


def _move_row(move: AliasMove, *, pointing: bool) -> dict[str, Any]:
    """A move as one of the history, or (`pointing`) as what says where the alias pointed."""
    told = {"who": move.who, "why": move.why, "hash": move.hash}
    if pointing:
        return {"alias": move.alias, "version": move.to_version, "since": move.moved} | told
    return {
        "moved": move.moved,
        "alias": move.alias,
        "from": move.from_version,
        "to": move.to_version,
        "number": move.number,
        "rollback": move.rollback,
    } | told


def _main_metrics(newest: ModelVersion) -> list[str]:
    """The few metrics that a screen has room for: the gate's first, then those that come first."""
    gate = _gate_metric(newest)
    names = [name for name in newest.metrics if "[" not in name and name != gate]
    return [*([] if gate is None else [gate]), *names][:_MAIN_METRICS]


def _gate_metric(version: ModelVersion) -> str | None:
    """The metric that the run which made a version was judged by, where that run is known here."""
    from forgeline.ledger.ledger import open_ledger
    from forgeline.spec.source import read_document

    with contextlib.suppress(ForgelineError):
        register = read_document(open_ledger().get(version.run_id or "").spec).data.get("register") or {}
        gate = register.get("gate") or {}
        first = gate[0] if isinstance(gate, list) else gate
        return first.get("metric") if isinstance(first, dict) else None
    return None


approvals.add_to(app)
