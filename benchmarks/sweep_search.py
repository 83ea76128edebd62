"""Real searches: TPE that stops trials early against random search that trains all of them to the end.

Run by `make acceptance ONLY=sweep-search-tables` and `ONLY=sweep-search-images`; a repetition is a row.

Of each repetition both searches have the same seed and 30 trials. Random search's best validation is the target; what
counts is the share of its epochs after which the other one is within the tolerance of it, 1 where it never is. Epochs
are those that trials really trained: one that is stopped early has trained on while the verdict came. The bar is on the
median of the five repetitions, which the last row has.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import forgeline as fl
from benchmarks import results_file
from forgeline.ledger.ledger import open_ledger
from forgeline.spec.loading import load
from forgeline_jobs.sweep.trials import LABEL

Say = Callable[[str], None]

REPETITIONS = 5
TRIALS = 30
MOST = 0.5
"""Share of random search's epochs that the median may take."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over a data set.

    Attributes:
        group: of the acceptance run.
        spec: the sweep without algorithm, seed and stop rule.
        objective: that it is about.
        near: whether a value is as good as random search's best, within the tolerance.
        better: picks the better of two values.
        reduction: of successive halving.
    """

    group: str
    spec: Mapping[str, Any]
    objective: str
    near: Callable[[float, float], bool]
    better: Callable[[float, float], float]
    reduction: int = 3


TABLES = Search(
    group="sweep-search-tables",
    objective="val/log_loss",
    spec={
        "kind": "sweep",
        "name": "breast-cancer-search",
        "train": {
            "architecture": {"name": "mlp"},
            "data": {"name": "breast-cancer", "batch_size": 32},
            "trainer": {"epochs": 27},
            "checkpoint": {"metric": "val/loss"},
        },
        "space": {
            # With rates up to 0.1, a net that separates the 57 rows by huge logits has a loss of exactly 0, and
            # nothing is within two per cent of that.
            "optimizer.lr": {"log_uniform": [1e-5, 1e-2]},
            "optimizer.weight_decay": {"log_uniform": [1e-5, 1e0]},
            "architecture.dropout": {"uniform": [0, 0.6]},
            "architecture.hidden": {"choice": [[16], [64], [64, 64]]},
            "data.batch_size": {"choice": [16, 32, 64]},
        },
    },
    near=lambda value, best: value <= best * 1.02,
    better=min,
)
IMAGES = Search(
    group="sweep-search-images",
    objective="val/accuracy",
    spec={
        "kind": "sweep",
        "name": "mnist5k-search",
        "train": {
            "architecture": {"name": "lenet", "filters": [8, 16], "hidden": [64]},
            "data": {"name": "mnist5k", "batch_size": 64},
            # Of 400 images 0.3 points are one: at a constant rate, the best of 270 measurements is luck.
            "optimizer": {"schedule": "cosine"},
            "trainer": {"epochs": 9},
        },
        "space": {
            "optimizer.lr": {"log_uniform": [1e-5, 1e-1]},
            "optimizer.weight_decay": {"log_uniform": [1e-5, 1e0]},
            "architecture.dropout": {"uniform": [0, 0.6]},
            "data.batch_size": {"choice": [32, 64, 128]},
        },
    },
    near=lambda value, best: value >= best - 0.003,
    better=max,
)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a search went.

    Attributes:
        epochs: that all trials trained.
        best: the best validation there was.
        values: epochs trained by then -> what was measured, in the order in which it was.
    """

    epochs: float
    best: float
    values: list[tuple[float, float]]


def rows(search: Search, say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """A row for each repetition, and one for their median."""
    repetitions = {f"repetition {seed}": partial(repetition, search, seed, say) for seed in range(REPETITIONS)}
    return {**repetitions, "median of the repetitions": partial(median, search, say)}


def repetition(search: Search, seed: int, say: Say) -> dict[str, Any]:
    """Both searches with one seed; a repetition by itself has no bar."""
    started = time.perf_counter()
    told = course(search, {"algorithm": "random", "seed": seed}, {"scheduler": "none"})
    asha = {"scheduler": "asha", "grace": "3ep", "reduction": search.reduction}
    found = course(search, {"algorithm": "tpe", "seed": seed}, asha)
    reached = next((epochs for epochs, value in found.values if search.near(value, told.best)), None)
    share = 1.0 if reached is None else min(reached / told.epochs, 1.0)
    say(f"{search.group}: seed {seed}: random {told.best:.4f} in {told.epochs:.0f} epochs, "
        f"TPE and ASHA {found.best:.4f} in {found.epochs:.0f}; near it after {share:.0%}")  # fmt: skip
    return {
        "measured": {
            "share of epochs": round(share, 4),
            "random best": told.best,
            "random epochs": told.epochs,
            "TPE+ASHA best": found.best,
            "TPE+ASHA epochs": found.epochs,
        },
        "seconds": round(time.perf_counter() - started, 1),
        "met": True,
    }


def median(search: Search, say: Say) -> dict[str, Any]:
    """The bar, on the shares of the repetitions that are in the result file."""
    known = results_file.read(search.group).get("rows", {})
    shares = [known[f"repetition {seed}"]["measured"]["share of epochs"] for seed in range(REPETITIONS)]
    found = statistics.median(shares)
    say(f"{search.group}: shares {shares}, median {found}")
    return {
        "measured": {"median share of epochs": found, "shares": shares},
        "at_most": MOST,
        "met": found <= MOST,
    }


def course(search: Search, chosen: Mapping[str, Any], stop: Mapping[str, Any]) -> Course:
    """Run a search."""
    spec = {
        **search.spec,
        "search": {"trials": TRIALS, "concurrent": 2, **chosen},
        "objective": {"metric": search.objective},
        "stop": dict(stop),
    }
    run = fl.run(load(spec))
    if run.state != "succeeded":
        raise RuntimeError(f"{run.name} {run.state}: {run.message}")
    trained = _epochs_trained(run.id)
    reached: dict[int, float] = {}
    values: list[tuple[float, float]] = []
    for entry in open_ledger().journal(run.id):
        if entry["entry"] == "reported":
            reached[entry["trial"]] = entry["step"]
            if entry["objectives"][0] is not None:
                values.append((sum(reached.values()), float(entry["objectives"][0])))
        elif entry["entry"] == "ended":
            reached[entry["trial"]] = trained[entry["trial"]]
    best = values[0][1]
    for _, value in values:
        best = search.better(best, value)
    return Course(epochs=sum(trained.values()), best=best, values=values)


def _epochs_trained(sweep: str) -> dict[int, float]:
    """By trial, the epochs that its run really trained."""
    ledger, found = open_ledger(), {}
    for run in ledger.list_runs(parent=sweep):
        events = [
            (line["epoch"], line["step"])
            for attempt in ledger.attempts(run.id)
            for line in _epoch_events(run.id, attempt.number)
        ]
        epoch, step = max(events, default=(1, 1))
        last = max((attempt.last_step or 0 for attempt in ledger.attempts(run.id)), default=0)
        found[int(run.labels[LABEL])] = max(last, step) * epoch / step
    return found


def _epoch_events(run_id: str, attempt: int) -> list[dict[str, Any]]:
    from forgeline.tracking.spool import SpoolReader

    lines = SpoolReader(fl.get(run_id).paths.spool(attempt=attempt, rank=0)).read_new()
    return [line for line in lines if line.get("event") == "epoch"]
