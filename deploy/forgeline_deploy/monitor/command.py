"""`forgeline monitor`: what a deployment's monitor saw and decided, and what another policy would have decided."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.moments import moment_of
from forgeline.cli.render import Format, FormatOption, local_time, show_json, show_pairs, show_rows

if TYPE_CHECKING:
    from forgeline_deploy.monitor.decision import Finding

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)

DeploymentArgument = Annotated[
    str,
    typer.Argument(
        metavar="DEPLOYMENT",
        help="Id, unique start of an id, or name (its newest run).",
        autocompletion=completion.runs,
    ),
]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="Only what ended after this time, in ISO 8601.")]


@app.callback()
def root() -> None:
    """What the monitor of a deployment saw and decided."""


@app.command("show")
def show(deployment: DeploymentArgument, form: FormatOption = Format.TABLE) -> None:
    """Show how a deployment stands: its policy, its newest window, and what is wrong."""
    from forgeline_deploy.monitor.recorded import open_recorded
    from forgeline_deploy.monitor.standing import standing

    found = standing(open_recorded(deployment))
    if form is Format.JSON:
        show_json(found)
        return
    labelled = [f"{stream}: {figures['text']}" for stream, figures in found["labelled"].items()]
    show_pairs(
        [
            ("deployment", f"{found['name']} ({found['run']})"),
            ("state", found["state"]),
            ("window", found["policy"]["window"]),
            ("promise", f"{found['policy']['promise']['false_alarms']} false alarms"),
            ("windows", found["windows"]),
            ("late rows", found["late_rows"]),
            ("newest", _span(found["newest"])),
            ("labelled", labelled),
        ]
    )
    newest = found["newest"]
    if newest is not None:
        rows = [{"stream": stream, **measured} for stream, measured in newest["measures"].items()]
        columns = ["stream", "rows", "requests", "errors", "refused", "p50_s", "p99_s", "evidence", "threshold"]
        print()
        show_rows(rows, columns, form=Format.TABLE, empty="it has no requests")
        for stream, line in newest["estimates"].items():
            print(f"\n{stream}: {line}")
        for stream, line in newest["refused"].items():
            print(f"\n{stream}: refused for {line}")
        for stream, line in newest["against"].items():
            print(f"\n{stream}: judged by {line}")
        for remark in newest["remarks"]:
            print(f"\n{remark}")
    print()
    show_rows(found["findings"], _FINDING, form=Format.TABLE, empty="nothing is wrong")


@app.command("windows")
def windows(
    deployment: DeploymentArgument,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest last.")] = 50,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the windows of a deployment, oldest first, with what was found in them."""
    from forgeline_deploy.monitor.recorded import open_recorded
    from forgeline_deploy.monitor.standing import window_row

    recorded = open_recorded(deployment)
    after = _since(since)
    chosen = [window_row(window) for window in recorded.windows if window.end > after][-limit:]
    if form is Format.JSON:
        show_json(chosen)
        return
    rows = [
        row
        | {
            "start": local_time(datetime.fromtimestamp(row["start"], UTC)),
            "late": "late" if row["late"] else "",
            "found": [f"{finding['severity']} {finding['subject']}" for finding in row["findings"]],
        }
        for row in chosen
    ]
    columns = ["number", "start", "late", "rows", "requests", "judged_rows", "found"]
    show_rows(rows, columns, form=Format.TABLE, empty="no window is closed yet")


@app.command("replay")
def replay(
    deployment: DeploymentArgument,
    spec: Annotated[
        Path, typer.Option("--spec", metavar="FILE", help="YAML with another `monitor`; what it leaves out stays.")
    ],
    since: SinceOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also windows in which neither finds anything.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Judge the stored windows by another policy, and show what it would have decided beside what was decided."""
    from forgeline_deploy.monitor.recorded import open_recorded
    from forgeline_deploy.monitor.replay import policy_of
    from forgeline_deploy.monitor.replay import replay as replayed

    recorded = open_recorded(deployment)
    policy, broken = policy_of(spec, recorded.policy), list[str]()
    found = list(replayed(recorded, policy, since=_since(since), broken=broken))
    told = [one for one in found if everything or one.decided or one.would]
    if form is Format.JSON:
        show_json(
            {
                "run": recorded.run.id,
                "policy": policy.model_dump(mode="json"),
                "windows": len(found),
                "broken": broken,
                "decisions": [one.plain() for one in told],
            }
        )
        return
    rows = [
        {
            "start": local_time(datetime.fromtimestamp(one.start, UTC)),
            "rows": one.rows,
            "decided": _subjects(one.decided),
            "would_decide": _subjects(one.would),
            "agrees": one.agrees,
        }
        for one in told
    ]
    show_rows(
        rows, ["start", "rows", "decided", "would_decide", "agrees"], form=Format.TABLE, empty="neither finds anything"
    )
    other = sum(not one.agrees for one in found)
    print(f"\n{other} of {len(found)} windows would be decided otherwise")
    for line in broken:
        print(line)


@app.command("report")
def report(
    deployment: DeploymentArgument,
    window: Annotated[int, typer.Option(metavar="NUMBER", help="Number of the window, as `windows` lists it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="File to write.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --output if it is there.")
    ] = False,
    attach: Annotated[bool, typer.Option("--attach/--no-attach", help="Also attach it to the run in MLflow.")] = True,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write Evidently's report on a window, for people, and attach it to the deployment's run in MLflow."""
    from forgeline.settings import settings
    from forgeline.tracking.tracker import Tracker
    from forgeline_deploy.drift.command import check_output
    from forgeline_deploy.monitor.human_report import write_report
    from forgeline_deploy.monitor.recorded import open_recorded
    from forgeline_deploy.monitor.reporting import sides_of_window

    check_output(output, overwrite=overwrite)
    recorded = open_recorded(deployment)
    sides, title = sides_of_window(recorded, window)
    write_report(sides, output, title=title)
    place = f"windows/{window:06d}"
    if attach:
        environment = settings()
        tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
        tracker.log_artifacts(recorded.run.id, output, place)
    if form is Format.JSON:
        show_json(
            {"output": str(output), "run": recorded.run.id, "window": window, "artifact": place if attach else None}
        )
    else:
        print(f"wrote {output}" + (f", attached to run {recorded.run.id} under {place}" if attach else ""))


_FINDING = ["severity", "about", "stream", "subject", "text"]


def _subjects(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.severity} {finding.subject}" for finding in findings]


def _since(text: str | None) -> float:
    return float("-inf") if text is None else moment_of(text, option="--since").timestamp()


def _span(window: dict[str, Any] | None) -> str:
    if window is None:
        return "no window is closed yet"
    start, end = (local_time(datetime.fromtimestamp(window[side], UTC)) for side in ("start", "end"))
    return f"{start} to {end}, {window['rows']:,} rows"
