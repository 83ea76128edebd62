"""The study of a sweep against Optuna alone, on functions whose least value is known.

Run by `make acceptance ONLY=sweep-functions`.

- One trial at a time: every suggestion is the one that Optuna alone makes with that seed.
- Four at once, which end in an order that follows from how long they take: the best value after 60 trials against that
  of Optuna asked and told in its own loop the same way. Optuna takes trials under way into account (the constant liar)
  and so does the study, so that a tie is what is to be expected: the study must not make the search worse.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Study
from forgeline_jobs.sweep.trials import Outcome

if TYPE_CHECKING:
    import optuna

Say = Callable[[str], None]
Values = Mapping[str, Any]

TRIALS, SEEDS = 50, 5
AT_ONCE, TRIALS_AT_ONCE, SEEDS_AT_ONCE, WINS = 4, 60, 20, 8.0

_A = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)
_ALPHA = (1.0, 1.2, 3.0, 3.2)


class Searcher(Protocol):
    """Suggests points, and is told what they are worth."""

    def ask(self) -> tuple[int, Values]: ...

    def tell(self, number: int, value: float) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function to make small.

    Attributes:
        space: as a sweep has it.
        plain: draws a point from an Optuna trial, as a person would write it.
        least: the smallest value there is.
    """

    name: str
    space: Mapping[str, Any]
    plain: Callable[[optuna.Trial], dict[str, Any]]
    value: Callable[[Values], float]
    least: float


def branin(point: Values) -> float:
    """Three equal valleys in the plane.

    >>> round(branin({"x": math.pi, "y": 2.275}), 4)
    0.3979
    """
    x, y = point["x"], point["y"]
    valley = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return float(valley + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def hartmann6(point: Values) -> float:
    """Four bumps in six dimensions.

    >>> at = (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)
    >>> round(hartmann6({f"x{number}": value for number, value in enumerate(at)}), 4)
    -3.3224
    """
    x = [point[f"x{number}"] for number in range(6)]
    return -sum(
        weight * math.exp(-sum(a * (each - p) ** 2 for a, each, p in zip(row, x, centre, strict=True)))
        for weight, row, centre in zip(_ALPHA, _A, _P, strict=True)
    )


def conditional(point: Values) -> float:
    """A choice of three, each with keys of its own: a bowl, a valley on a logarithmic scale, and whole numbers.

    >>> conditional({"shape": "log", "rate": 1e-3})
    0.0
    """
    if point["shape"] == "bowl":
        return float((point["x"] - 1) ** 2 + (point["y"] + 2) ** 2 + 0.5)
    if point["shape"] == "log":
        return float(abs(math.log10(point["rate"] / 1e-3)))
    return float((point["count"] - 7) ** 2 / 10 + 0.25)


def _plain_branin(trial: optuna.Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", -5, 10), "y": trial.suggest_float("y", 0, 15)}


def _plain_hartmann6(trial: optuna.Trial) -> dict[str, Any]:
    return {f"x{number}": trial.suggest_float(f"x{number}", 0, 1) for number in range(6)}


def _plain_conditional(trial: optuna.Trial) -> dict[str, Any]:
    shape = trial.suggest_categorical("shape", ["bowl", "log", "whole"])
    if shape == "bowl":
        return {"shape": shape, "x": trial.suggest_float("x", -5, 5), "y": trial.suggest_float("y", -5, 5)}
    if shape == "log":
        return {"shape": shape, "rate": trial.suggest_float("rate", 1e-6, 1, log=True)}
    return {"shape": shape, "count": trial.suggest_int("count", 1, 100)}


FUNCTIONS = (
    Function(
        name="Branin",
        space={"x": {"uniform": [-5, 10]}, "y": {"uniform": [0, 15]}},
        plain=_plain_branin,
        value=branin,
        least=0.397887,
    ),
    Function(
        name="Hartmann6",
        space={f"x{number}": {"uniform": [0, 1]} for number in range(6)},
        plain=_plain_hartmann6,
        value=hartmann6,
        least=-3.32237,
    ),
    Function(
        name="conditional",
        space={
            "shape": {
                "choice": {
                    "bowl": {"x": {"uniform": [-5, 5]}, "y": {"uniform": [-5, 5]}},
                    "log": {"rate": {"log_uniform": [1e-6, 1]}},
                    "whole": {"count": {"int": [1, 100]}},
                }
            }
        },
        plain=_plain_conditional,
        value=conditional,
        least=0.0,
    ),
)


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """Two rows for each function."""
    one = {f"{each.name}, one at a time": partial(identical, say, each) for each in FUNCTIONS}
    four = {f"{each.name}, {AT_ONCE} at once": partial(at_once, say, each) for each in FUNCTIONS}
    return one | four


def identical(say: Say, function: Function, *, trials: int = TRIALS, seeds: int = SEEDS) -> dict[str, Any]:
    """Suggestions one at a time, compared with Optuna's to the last digit."""
    started, compared, differences = time.perf_counter(), 0, 0
    for seed in range(seeds):
        ours = searched(OurStudy(function, seed, trials), function, trials=trials, at_once=1, seed=seed)
        plain = searched(PlainOptuna(function, seed), function, trials=trials, at_once=1, seed=seed)
        compared += len(plain)
        differences += sum(a != b for a, b in zip(ours, plain, strict=True))
    say(f"{function.name}: {compared} suggestions compared, {differences} differ")
    return {
        "compared": compared,
        "differences": differences,
        "seconds": [round(time.perf_counter() - started, 1)],
        "met": differences == 0,
    }


def at_once(
    say: Say, function: Function, *, trials: int = TRIALS_AT_ONCE, seeds: int = SEEDS_AT_ONCE
) -> dict[str, Any]:
    """The best value of several trials at once, seed by seed, against Optuna's own."""
    started, best = time.perf_counter(), []
    for seed in range(seeds):
        ours, plain = (
            min(map(function.value, searched(each, function, trials=trials, at_once=AT_ONCE, seed=seed)))
            for each in (OurStudy(function, seed, trials), PlainOptuna(function, seed))
        )
        best.append((ours, plain))
    ties = sum(ours == plain for ours, plain in best)
    wins = sum(ours < plain for ours, plain in best)
    say(f"{function.name}, {AT_ONCE} at once: {wins} won, {ties} tied, of {seeds}")
    return {
        "metric": "seeds won, ties half",
        "measured": wins + ties / 2,
        "at_least": WINS,
        "won": wins,
        "tied": ties,
        "seeds": seeds,
        "regret": {
            "ours": _mean(ours - function.least for ours, _ in best),
            "optuna": _mean(plain - function.least for _, plain in best),
        },
        "seconds": [round(time.perf_counter() - started, 1)],
        "met": wins + ties / 2 >= WINS,
    }


def searched(searcher: Searcher, function: Function, *, trials: int, at_once: int, seed: int) -> list[Values]:
    """The points that were tried, in the order of their asking.

    Args:
        at_once: trials under way at the same time; how long each takes follows from `seed`, and the first that is
            through is told first.
    """
    lasts = random.Random(seed)
    points: list[Values] = []
    working: list[tuple[float, int, Values]] = []
    now = 0.0
    while len(points) < trials or working:
        while len(points) < trials and len(working) < at_once:
            number, point = searcher.ask()
            points.append(point)
            heapq.heappush(working, (now + lasts.uniform(1, 10), number, point))
        now, number, point = heapq.heappop(working)
        searcher.tell(number, function.value(point))
    return points


class OurStudy:
    """The study of a sweep, its journal in memory."""

    def __init__(self, function: Function, seed: int, trials: int) -> None:
        spec = SweepSpec.model_validate(
            {
                "kind": "sweep",
                "name": "function",
                "train": {"kind": "train"},
                "space": function.space,
                "search": {"trials": trials, "seed": seed},
                "objective": {"metric": "val/value", "mode": "min"},
            }
        )
        self._study = Study(spec, MemoryJournal(), maximise=[False])

    def ask(self) -> tuple[int, Values]:
        trial = self._study.ask()
        if trial is None:
            raise RuntimeError("the study has no further trial")
        return trial.number, trial.values

    def tell(self, number: int, value: float) -> None:
        self._study.end(number, Outcome.SUCCEEDED, objectives=[value])


class PlainOptuna:
    """Optuna's own loop."""

    def __init__(self, function: Function, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._function = function
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        self._trials: list[optuna.Trial] = []

    def ask(self) -> tuple[int, Values]:
        trial = self._study.ask()
        self._trials.append(trial)
        return trial.number, self._function.plain(trial)

    def tell(self, number: int, value: float) -> None:
        self._study.tell(self._trials[number], value)


class MemoryJournal:
    """A journal that ends with the process."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, Any]] = []

    def append(self, *entries: Mapping[str, Any]) -> None:
        self.entries += entries


def _mean(values: Any) -> float:
    found: Sequence[float] = list(values)
    return round(sum(found) / len(found), 5)
