"""`forgeline sweeps`: what sweeps there are, what came of their trials, and a stop for one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli import completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.render import (
    Format,
    FormatOption,
    duration,
    minute,
    short_id,
    show_json,
    show_pairs,
    show_rows,
)
from forgeline.errors import UsageError
from forgeline_jobs.sweep.standing import PAGE

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline_jobs.sweep.importance import Importance
    from forgeline_jobs.sweep.standing import Standing

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)


def _names(incomplete: str) -> list[str]:
    return completion.run_names_of("sweep", incomplete)


SweepArgument = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="Name (its newest sweep), id, or unique start of an id.", autocompletion=_names
    ),
]


@app.callback()
def root() -> None:
    """List and show sweeps, stop one of their trials, or ask for it again."""


@app.command("list")
def list_sweeps(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    form: FormatOption = Format.TABLE,
) -> None:
    """List sweeps, newest first, with the trials that have ended and the best objective."""
    from forgeline.ledger.ledger import open_ledger
    from forgeline_jobs.sweep.standing import standing

    ledger = open_ledger()
    found = [standing(ledger, record, with_runs=False) for record in ledger.list_runs(kind="sweep", limit=limit)]
    rows = [_row(one) for one in found]
    if form is Format.TABLE:
        rows = [_short(row) for row in rows]
    columns = ["id", "name", "state", "trials", "best", "objective", "created", "took"]
    show_rows(rows, columns, form=form, empty="no sweep yet; `forgeline run SPEC` starts one")


@app.command("show")
def show(
    sweep: SweepArgument,
    rows: Annotated[
        int, typer.Option("--trials", min=1, help="Trials in the table at most, best first; JSON has all.")
    ] = 20,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show all about one sweep: its trials, the best of them, what it spent and which keys mattered."""
    ledger, found = _found(sweep)
    important = _importances(found)
    details = _details(ledger, found, important)
    if form is Format.JSON:
        show_json(details)
        return
    show_pairs(_pairs(found, details))
    if found.front:
        _show_best(found)
    if found.trials:
        count = len(found.trials)
        print("\ntrials, best first" + (f"; {rows} of {count} (`--trials {count}` shows all)" if rows < count else ""))
        show_rows([_for_screen(row) for row in details["trials"][:rows]], _columns(found), form=form, empty="")
    _show_importances(found, important)


@app.command("best")
def best(
    sweep: SweepArgument,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Another trial's number, such as one of the Pareto front.")
    ] = None,
) -> None:
    """Print the train spec of the best trial as YAML, so that it can be trained again."""
    from forgeline_jobs.sweep.points import best_spec
    from forgeline_jobs.sweep.trials import course

    _, found = _found(sweep)
    if trial is None:
        if not found.front:
            raise UsageError(f"sweep {found.record.name!r} has no trial that succeeded; `--trial` names another one")
        number = found.front[0].number
    else:
        number = _numbered(found, trial)
    print(best_spec(found.spec, course(found.trials, number)).text, end="")


@app.command("stop")
def stop(
    sweep: SweepArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number, as `show` has it.")],
) -> None:
    """Ask one trial to stop; it is not gone on with, and the sweep goes on with others."""
    ledger, found = _found(sweep)
    state = found.state(found.trials[_numbered(found, trial)])
    run = found.runs.get(trial)
    if found.record.is_final:
        raise UsageError(f"sweep {found.record.name!r} has ended ({found.record.state}); nothing of it is under way")
    if run is None or run.is_final or not ledger.request_cancel(run.id):
        raise UsageError(f"trial {trial} is not under way ({state}); there is nothing to stop")
    print(f"asked trial {trial} to stop (run {run.id})")


def _found(reference: str) -> tuple[Ledger, Standing]:
    from forgeline.ledger.ledger import open_ledger
    from forgeline_jobs.sweep.standing import find, standing

    ledger = open_ledger()
    return ledger, standing(ledger, find(ledger, reference))


def _numbered(found: Standing, trial: int) -> int:
    """The number, where there is such a trial."""
    if trial >= len(found.trials):
        known = f"0 to {len(found.trials) - 1}" if found.trials else "none yet"
        raise UsageError(f"sweep {found.record.name!r} has no trial {trial}; trials: {known}")
    return trial


def _row(found: Standing) -> dict[str, Any]:
    front, counts = found.front, found.counts
    return {
        "id": found.record.id,
        "name": found.record.name,
        "state": str(found.record.state),
        "ended": len(found.trials) - counts["open"],
        "asked": found.spec.search.trials,
        **counts,
        "objective": found.metrics,
        "best": [float(value) for value in front[0].objectives or ()] if front else None,
        "created": found.record.created,
        "took_s": found.took_s,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "id": short_id(row["id"]),
        "trials": f"{row['ended']} of {row['asked']}" + (f", {row['failed']} failed" if row["failed"] else ""),
        "created": minute(row["created"]),
        "took": duration(row["took_s"]),
    }


def _importances(found: Standing) -> dict[str, list[Importance] | None]:
    """Of each objective what each key does to it."""
    from forgeline_jobs.sweep.importance import importances

    return {metric: importances(found.spec, found.trials, objective=at) for at, metric in enumerate(found.metrics)}


def _details(ledger: Ledger, found: Standing, important: Mapping[str, Sequence[Importance] | None]) -> dict[str, Any]:
    """All about a sweep, as JSON has it."""
    from forgeline.paths import RunPaths
    from forgeline.settings import settings

    record, front = found.record, found.front
    page = RunPaths(settings().home_folder, record.id).artifacts / PAGE
    return {
        "sweep": record.id,
        "name": record.name,
        "state": str(record.state),
        "reason": None if record.reason is None else str(record.reason),
        "message": record.message,
        "created": record.created,
        "ended": record.ended,
        "report": str(page) if page.exists() else None,
        "objective": found.metrics,
        "asked": found.spec.search.trials,
        "counts": found.counts,
        "spent": _spent(ledger, found),
        "best": [trial.number for trial in front],
        "importances": {
            metric: None if each is None else [asdict(one) for one in each] for metric, each in important.items()
        },
        "trials": found.rows(),
    }


def _spent(ledger: Ledger, found: Standing) -> dict[str, Any]:
    """What the sweep has used, with what it may use where it has a budget."""
    from forgeline.planning import Question
    from forgeline.settings import settings
    from forgeline_jobs.sweep.budget import Budget
    from forgeline_jobs.sweep.plan import price_of_second

    budget = found.spec.budget
    limits = budget.model_dump(mode="json")
    wall = None if budget.wall is None else budget.wall.total_seconds()
    gpu_seconds = Budget(budget, ledger, found.record.id).gpu_seconds()
    price = price_of_second(Question(settings=settings())) if gpu_seconds else None
    return {
        "wall": {"used_s": found.took_s, "limit_s": wall},
        "gpu_seconds": {"used": gpu_seconds, "limit": limits["gpu_seconds"]},
        "money": {"used": None if price is None else gpu_seconds * price, "limit": limits["money"]},
        "failed_trials": {"used": found.counts["failed"], "limit": limits["failed_trials"]},
    }


def _pairs(found: Standing, details: dict[str, Any]) -> list[tuple[str, Any]]:
    """The same for a screen, without what says nothing."""
    from forgeline_jobs.sweep.standing import search_in_words

    spent = details["spent"]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found.counts.items() if count)
    wall, gpus, money, failed = (spent[name] for name in ("wall", "gpu_seconds", "money", "failed_trials"))
    told: list[tuple[str, Any]] = [(name, details[name]) for name in ("sweep", "name", "state", "reason", "message")]
    told += [("search", search_in_words(found.spec))]
    told += [
        ("trials", f"{len(found.trials)} of {details['asked']}: {counts}" if counts else f"0 of {details['asked']}")
    ]
    told += [("worked", duration(wall["used_s"]) + (f" of {duration(wall['limit_s'])}" if wall["limit_s"] else ""))]
    if gpus["used"] or gpus["limit"]:
        told += [("GPU-seconds", f"{gpus['used']:.0f}" + (f" of {gpus['limit']:g}" if gpus["limit"] else ""))]
    if money["used"] is not None:
        told += [("money", f"{money['used']:.2f}" + (f" of {money['limit']:g}" if money["limit"] else ""))]
    if failed["limit"] is not None:
        told += [("failed trials", f"{failed['used']} of {failed['limit']} allowed")]
    return [*told, ("report", details["report"]), ("created", details["created"]), ("ended", details["ended"])]


def _show_best(found: Standing) -> None:
    from forgeline_jobs.sweep.standing import best_title, train_again

    winner = found.front[0]
    objectives = zip(found.metrics, winner.objectives or (), strict=True)
    commands = list(zip(["train it again", ""], train_again(found), strict=True))
    pairs = [("trial", winner.number), *objectives, *winner.values.items()]
    show_pairs([*pairs, ("step", winner.step or None)], title=f"\n{best_title(found)}")
    show_pairs([(name or " ", command) for name, command in commands])


def _columns(found: Standing) -> list[str]:
    from forgeline_jobs.sweep.live import keys_of

    front = ["front"] if len(found.metrics) > 1 else []
    messages = ["message"] if any(trial.message for trial in found.trials) else []
    meets = ["meets"] if found.spec.require else []
    return ["trial", "state", *front, *keys_of(found.spec), *found.metrics, *meets, "step", "run", "took", *messages]


def _for_screen(row: dict[str, Any]) -> dict[str, Any]:
    front = "yes" if row["best"] else None
    return row | {"run": short_id(row["run"]), "took": duration(row["seconds"]), "front": front}


def _show_importances(found: Standing, important: Mapping[str, Sequence[Importance] | None]) -> None:
    from forgeline_jobs.sweep.importance import FEWEST, importance_row, title

    for metric, each in important.items():
        print(f"\n{title(metric, each, found.spec)}")
        if each is None:
            print(f"fewer than {FEWEST} trials can be compared; nothing is said")
            continue
        rows = [importance_row(one) for one in each]
        columns = ["key", "importance", "trials", *(["where"] if any(one.where for one in each) else [])]
        show_rows(rows, columns, form=Format.TABLE, empty="")
