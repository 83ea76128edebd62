"""`forgeline verify-resume`: kill a run at a step, let it go on, and compare it with one that nobody killed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from forgeline.cli.render import Format, FormatOption, show_json, show_pairs
from forgeline.cli.run import SetOption, SpecArgument
from forgeline.errors import RunFailed, UsageError

if TYPE_CHECKING:
    import forgeline as fl
    from forgeline_jobs.train.spec import TrainSpec


def verify_resume(
    spec: SpecArgument,
    at: Annotated[int, typer.Option("--at", min=1, metavar="STEP", help="Kill a worker once it has done this step.")],
    set_: SetOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Run a spec twice, once killed after a step, and compare samples, losses and weights of every step.

    Exit codes: 0 the same to the last bit, 1 not the same, 2 bad specification or usage.
    """
    import forgeline as fl
    from forgeline_jobs.verify_resume.comparison import compare, read
    from forgeline_jobs.verify_resume.interruption import kill_at

    told = list(set_ or ())
    loaded = cast("TrainSpec", fl.load(spec, set=told).spec)
    changes = [*told, *_changes(loaded, at)]
    _tell("1 of 2: a run that nobody kills")
    whole = fl.run(spec, set=changes)
    _succeeded(whole)
    _tell(f"2 of 2: a run of which a worker is killed after step {at}")
    killed = fl.run(spec, set=changes, detach=True)
    kill = kill_at(killed, at)
    killed.wait()
    _succeeded(killed)
    attempts = [read(killed.paths.attempt(attempt.number)) for attempt in killed.attempts]
    found = compare(read(whole.paths.attempt(1)), attempts)
    resumed_at = killed.attempts[-1].first_step or 0
    _report(
        found,
        {"whole": whole.id, "killed": killed.id, "rank": kill.rank, "step": kill.step, "resumed_at": resumed_at},
        form,
    )
    raise typer.Exit(0 if found.divergence is None else 1)


def _changes(spec: TrainSpec, at: int) -> list[str]:
    """What both runs are told besides: to trace, to go on after a kill, and to have a checkpoint before it."""
    if spec.kind != "train":
        raise UsageError(f"got a spec of kind {spec.kind}; verify-resume is for kind train")
    total = _steps(spec)
    if at >= total:
        raise UsageError(f"--at: got {at}, and the run has {total} steps; give one before the last")
    every = spec.checkpoint.every
    often = every is not None and every.unit == "step" and every.value <= at
    changes = ["trainer.trace=true", "register=null", "retry.node_lost=1"]
    return changes if often else [*changes, f"checkpoint.every={max(1, at // 2)}step"]


def _steps(spec: TrainSpec) -> int:
    from forgeline_jobs.train.preparation import prepare
    from forgeline_jobs.train.schedule import Schedule

    return Schedule.of_run(spec, len(prepare(spec.data).splits["train"])).total_steps


def _succeeded(run: fl.Run) -> None:
    if run.state != "succeeded":
        raise RunFailed(f"run {run.id} {run.state}: {run.message}", reason=run.reason or "platform_error")


def _report(found: Any, about: dict[str, Any], form: Format) -> None:
    if form is Format.JSON:
        show_json({**about, **found.to_dict(), "identical": found.divergence is None})
        return
    divergence = found.divergence
    show_pairs(
        [
            ("not killed", about["whole"]),
            ("killed", f"{about['killed']}: rank {about['rank']}, after step {about['step']}"),
            ("went on from", f"step {about['resumed_at']}"),
            ("compared", f"{found.compared} steps of {found.ranks} ranks: samples, losses, weights"),
            ("result", "the same to the last bit" if divergence is None else f"they part at {divergence}"),
        ]
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
