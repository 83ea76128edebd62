"""What a sweep would cost at worst: every trial trains to its end, and each is as dear as the dearest corner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from forgeline.planning import Plan, Question, Table
from forgeline_jobs.sweep import points
from forgeline_jobs.sweep.space import all_keys
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import grid
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.plan.devices import gpu_here, gpu_named

PLANNED = 12
"""Corners whose models are counted; further ones are not looked at."""


def plan(spec: SweepSpec, question: Question) -> Plan:
    """The worst case.

    Raises:
        SpecError: a corner of the space is refused.
        UsageError: there is no such GPU.
    """
    trains = TrainKind()
    rows: list[dict[str, Any]] = []
    for corner in points.checked(spec)[:PLANNED]:
        trained = points.trained(corner)
        told = trains.plan(trained, question).data
        rows.append({"spec": points.flat(trained.resolved()), "told": told})
    trials = most_trials(spec)
    trainings = trials + (spec.register_ is not None and spec.register_.retrain)
    dearest = max(rows, key=lambda row: _seconds(row["told"]) or 0.0)
    seconds = _seconds(dearest["told"])
    at_once = spec.resources.most_workers // spec.trial_workers
    if isinstance(spec.search.concurrent, int):
        at_once = min(at_once, spec.search.concurrent)
    gpus = spec.trial_workers * spec.resources.gpus_per_worker
    price = price_of_second(question)
    worst: dict[str, Any] = {
        "trials": trials,
        "trial_seconds": seconds,
        "seconds_one_at_a_time": None if seconds is None else seconds * trainings,
        "gpu_seconds": None if seconds is None else seconds * trainings * gpus,
        "cost": None if seconds is None or price is None else seconds * trainings * gpus * price,
    }
    keys = [key for key, _ in all_keys(spec.space)]
    return Plan(
        data={
            "kind": spec.kind,
            "name": spec.name,
            "keys": keys,
            "most_at_once": at_once,
            "worst_case": worst,
            "budget": spec.budget.model_dump(mode="json"),
            "corners": [
                {"values": _of_space(row["spec"], keys), "parameters": row["told"]["parameters"]} for row in rows
            ],
        },
        facts=_facts(spec, worst, at_once, price),
        tables=[_table(rows, keys)],
        notes=_notes(spec, worst),
    )


def most_trials(spec: SweepSpec) -> int:
    """Trials that there can be: as many as are asked for, or as a grid has points."""
    if spec.search.algorithm != "grid":
        return spec.search.trials
    return sum(1 for _ in islice(grid(spec, points.known_values(spec)), spec.search.trials))


def price_of_second(question: Question) -> float | None:
    """Money for a GPU-second: of the GPU that is named or here; None where it has no price."""
    prices = {name.lower(): price for name, price in question.settings.gpu_prices.items()}
    gpu = gpu_named(question.gpu, question.settings) if question.gpu is not None else gpu_here()
    hour = None if gpu is None else prices.get(gpu.name.lower())
    if hour is None and len(prices) == 1:
        hour = next(iter(prices.values()))
    return None if hour is None else hour / 3600


def _facts(spec: SweepSpec, worst: Mapping[str, Any], at_once: int, price: float | None) -> list[tuple[str, str]]:
    seconds, budget = worst["seconds_one_at_a_time"], spec.budget
    limits = {
        "gpu_seconds": budget.gpu_seconds,
        "money": budget.money,
        "wall": budget.wall,
        "failed_trials": budget.failed_trials,
    }
    limited = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None)
    return [
        ("kind", "sweep"),
        ("search", f"{spec.search.algorithm} over {len(list(all_keys(spec.space)))} keys"),
        ("trials", f"{worst['trials']}, at most {at_once} at once; each a run of {spec.trial_workers} workers"),
        ("stop early", spec.early_stopping),
        ("worst case", "no throughput is known" if seconds is None else f"{seconds:,.0f} s of training, one at a time"),
        ("GPU-seconds", "" if not worst["gpu_seconds"] else f"{worst['gpu_seconds']:,.0f}"),
        ("cost", "" if not worst["cost"] else f"{worst['cost']:,.2f}"),
        ("budget", limited or "no limit"),
    ]


def _notes(spec: SweepSpec, worst: Mapping[str, Any]) -> Sequence[str]:
    notes = ["The worst case is every trial trained to its end at the dearest corner; rules that stop early save."]
    if worst["trial_seconds"] is None:
        notes.append("Time is told once a run of the same model and data has been measured, or by --throughput.")
    over = spec.budget.gpu_seconds
    if over is not None and worst["gpu_seconds"] and worst["gpu_seconds"] > over:
        notes.append(f"The budget of {over:g} GPU-seconds may end the sweep before its last trial.")
    return notes


def _table(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Table:
    columns = [*keys, "parameters", "seconds"]
    cells = []
    for row in rows:
        seconds = _seconds(row["told"])
        told = {
            "parameters": f"{row['told']['parameters']['total']:,}",
            "seconds": f"{seconds:,.0f}" if seconds else "",
        }
        cells.append({key: str(value) for key, value in _of_space(row["spec"], keys).items()} | told)
    return Table(title="corners of the space", columns=columns, rows=cells)


def _of_space(spec: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: spec[key] for key in keys if key in spec}


def _seconds(told: Mapping[str, Any]) -> float | None:
    estimate = told["estimate"]
    return None if estimate is None else float(estimate["seconds"])
