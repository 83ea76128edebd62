"""`forgeline run` and `forgeline validate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.render import Format, FormatOption, discard_output, show_json, show_pairs, text_of
from forgeline.launching.events import NOT_FINISHED, Event, exit_code

_SHOWN = 20

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="A YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. optimizer.lr=3e-4; repeatable."),
]


def run(
    spec: SpecArgument,
    set_: SetOption = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster: http://host:8265, ray://host:10001 or auto.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and return at once.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Continue this run as a new attempt.", autocompletion=completion.runs),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Run a job. Ctrl-C asks it for a graceful stop.

    Exit codes: 0 succeeded, 1 platform error, 2 bad specification or usage, 100 failed, 103 cancelled, 104 timed out.
    """
    from forgeline import api
    from forgeline.cli.progress import display, show_summary
    from forgeline.ledger.ledger import open_ledger
    from forgeline.paths import RunPaths
    from forgeline.settings import settings

    if detach:
        if sys.stderr.isatty():
            print("checking the data and starting the run's process; its id follows", file=sys.stderr)
        started = api.run(spec, set=set_ or (), cluster=cluster, detach=True, resume=resume)
        print(started.id)
        return
    view = display()
    summary: dict[str, Any] = {"state": "failed"}

    def show(event: Event) -> None:
        if event["event"] in ("run", "state", "result", "registered"):
            _collect(summary, event)
        try:
            view.show(event)
        except BrokenPipeError:
            # `forgeline run SPEC | head`: the run goes on by itself.
            discard_output()
            raise typer.Exit(NOT_FINISHED) from None

    try:
        finished = api.run(spec, set=set_ or (), cluster=cluster, resume=resume, progress=show)
    finally:
        view.close()
    folder, has_journal = RunPaths(settings().home_folder, finished.id).root, bool(open_ledger().journal(finished.id))
    show_summary(summary, spec=spec, folder=folder, has_journal=has_journal)
    raise typer.Exit(exit_code(summary["state"]))


def validate(spec: SpecArgument, set_: SetOption = None, form: FormatOption = Format.TABLE) -> None:
    """Check a specification, the data it names and the resources it asks for; nothing is started or written."""
    from forgeline import api
    from forgeline.launching.launch import check
    from forgeline.settings import settings

    loaded = api.load(spec, set=set_ or ())
    found = check(loaded, settings(), cluster=None)
    if form is Format.JSON:
        show_json({"spec": str(spec), "kind": loaded.spec.kind, "valid": True, "found": found})
        return
    print(f"{spec}: a valid {loaded.spec.kind} specification")
    if found:
        show_pairs(list(_found_pairs(found)))


def _found_pairs(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a check found, a group of names on a line of its own, and of a thousand classes the first few."""
    for name, value in found.items():
        if isinstance(value, Mapping) and any(isinstance(item, list) for item in value.values()):
            yield from ((f"{name}, {key}", _few(item)) for key, item in value.items())
        elif isinstance(value, Mapping | list):
            yield name, _few(value) if value else "none"
        else:
            yield name, value


def _few(value: Any) -> str:
    """The first of many, and how many there are."""
    shown = dict(islice(value.items(), _SHOWN)) if isinstance(value, Mapping) else value[:_SHOWN]
    return text_of(shown) + (f", … ({len(value)} in all)" if len(value) > _SHOWN else "")


def _collect(summary: dict[str, Any], event: Event) -> None:
    fields = {key: value for key, value in event.items() if key not in ("event", "time")}
    if event["event"] == "registered":
        summary["registered"] = fields
    elif event["event"] == "result":
        summary.update({key: fields[key] for key in ("metrics", "registered") if fields.get(key)})
    else:
        summary.update(fields)
