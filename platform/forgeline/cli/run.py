"""`forgeline run` and `forgeline validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forgeline.launching.events import Event, exit_code

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
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue this run as a new attempt.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Run a job. Ctrl-C asks it for a graceful stop.

    Exit codes: 0 succeeded, 1 platform error, 2 bad specification or usage, 100 failed, 103 cancelled, 104 timed out.
    """
    from forgeline import api
    from forgeline.cli.progress import display, show_summary
    from forgeline.paths import RunPaths
    from forgeline.settings import settings

    if detach:
        started = api.run(spec, set=set_ or (), cluster=cluster, detach=True, resume=resume)
        print(started.id)
        return
    view = display()
    summary: dict[str, Any] = {"state": "failed"}

    def show(event: Event) -> None:
        if event["event"] in ("run", "state", "result", "registered"):
            _collect(summary, event)
        view.show(event)

    try:
        finished = api.run(spec, set=set_ or (), cluster=cluster, resume=resume, progress=show)
    finally:
        view.close()
    show_summary(summary, spec=spec, folder=RunPaths(settings().home_folder, finished.id).root)
    raise typer.Exit(exit_code(summary["state"]))


def validate(spec: SpecArgument, set_: SetOption = None) -> None:
    """Check a specification, the data it names and the resources it asks for; nothing is started or written."""
    from forgeline import api
    from forgeline.launching.launch import check
    from forgeline.settings import settings

    loaded = api.load(spec, set=set_ or ())
    check(loaded, settings(), cluster=None)
    print(f"{spec}: a valid {loaded.spec.kind} specification")


def _collect(summary: dict[str, Any], event: Event) -> None:
    fields = {key: value for key, value in event.items() if key not in ("event", "time")}
    if event["event"] == "registered":
        summary["registered"] = fields
    elif event["event"] == "result":
        summary.update({key: fields[key] for key in ("metrics", "registered") if fields.get(key)})
    else:
        summary.update(fields)
