"""Rollouts of equal models, and of worse ones: how often they are rolled back, and how soon.

    make acceptance ONLY=rollout

Each run draws requests that both models answer (shadow), or one of them (canary), and asks the rollout itself every 100
requests, up to 20,000, as the controller does. Beside it a z-test of two proportions that is looked at as often.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from forgeline_deploy.rollout import Evidence, LossScale, RolloutConfig, StepCounts, begin

Say = Callable[[str], None]
Counts = NDArray[np.int64]

RUNS, REQUESTS, EVERY = 1000, 20_000, 100
CANARY = 0.05
CHAMPION_ERRORS = 0.05


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two models and how they are compared.

    Attributes:
        challenger_errors: its error rate; the champion's is 5 %, and errors are independent.
        worse_by: as in the spec.
        at_most: bar on the share of runs that are rolled back; None: reported.
        median_at_most: bar on the median of the requests until then; None: reported.
        mode: `shadow` pairs, or a `canary` of 5 %.
        day: requests in a day, over which both error rates go from a fifth to nine fifths and back; 0: they stay.
        metric: `absolute_error` draws exponential errors instead, of the means that the rates are, clipped at 0.5.
    """

    challenger_errors: float
    worse_by: float = 0.0
    at_most: float | None = None
    median_at_most: int | None = None
    mode: Literal["shadow", "canary"] = "shadow"
    day: int = 0
    metric: Literal["error_rate", "absolute_error"] = "error_rate"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        rolled_back: requests until it was; None when it was not.
        went_on: requests until the first step was left, by proof; None when it was not.
    """

    rolled_back: int | None
    went_on: int | None


CASES: Mapping[str, Case] = {
    "equal models, worse_by 0": Case(challenger_errors=0.05, at_most=0.05),
    "equal models, worse_by 0, canary 5 %": Case(challenger_errors=0.05, at_most=0.05, mode="canary"),
    "equal models over changing days, worse_by 0, canary 5 %": Case(
        challenger_errors=0.05, at_most=0.05, mode="canary", day=4000
    ),
    "equal absolute errors, worse_by 0": Case(challenger_errors=0.05, at_most=0.05, metric="absolute_error"),
    "5 % -> 7 %, worse_by 0": Case(challenger_errors=0.07, median_at_most=2000),
    "5 % -> 7 %, worse_by 0.02": Case(challenger_errors=0.07, worse_by=0.02, at_most=0.05),
    "5 % -> 6 %, worse_by 0": Case(challenger_errors=0.06),
    "5 % -> 10 %, worse_by 0.02": Case(challenger_errors=0.10, worse_by=0.02),
    "5 % -> 7 %, worse_by 0, canary 5 %": Case(challenger_errors=0.07, mode="canary"),
    "5 % -> 20 %, worse_by 0.02, canary 5 %": Case(challenger_errors=0.20, worse_by=0.02, mode="canary"),
    "equal models, worse_by 0.02": Case(challenger_errors=0.05, worse_by=0.02, at_most=0.05),
}


def rows(say: Say) -> dict[str, Callable[[], dict[str, Any]]]:
    """The rows of the acceptance group."""
    return {name: partial(measure, case, say) for name, case in CASES.items()}


def measure(case: Case, say: Say, *, runs: int = RUNS) -> dict[str, Any]:
    """Run a case so many times."""
    began = time.perf_counter()
    ended = [_ended(case, seed) for seed in range(runs)]
    back = [run.rolled_back for run in ended if run.rolled_back is not None]
    went_on = [run.went_on for run in ended if run.went_on is not None]
    until = [float("inf") if run.rolled_back is None else run.rolled_back for run in ended]
    median = statistics.median(until)
    row: dict[str, Any] = {
        "metric": "share rolled back" if case.median_at_most is None else "median pairs until rolled back",
        "measured": len(back) / runs if case.median_at_most is None else median,
        "at_most": case.at_most if case.median_at_most is None else case.median_at_most,
        "runs": runs,
        "rolled_back": len(back) / runs,
        "median_until_rolled_back": None if median == float("inf") else median,
        "went_on": len(went_on) / runs,
        "median_until_it_went_on": statistics.median(went_on) if went_on else None,
        "peeked_z_test_rolled_back": _peer(case, runs),
        "seconds": round(time.perf_counter() - began, 1),
    }
    row["met"] = row["at_most"] is None or row["measured"] <= row["at_most"]
    say(f"rolled back {row['rolled_back']:.1%}, median {row['median_until_rolled_back']}; went on {row['went_on']:.1%}")
    return row


def _ended(case: Case, seed: int) -> Ended:
    mode = "shadow -> canary 5% -> 25% -> 100%" if case.mode == "shadow" else "canary 5% -> 25% -> 100%"
    compare: dict[str, Any] = {"metric": case.metric, "worse_by": case.worse_by}
    if case.metric != "error_rate":
        compare["bound"] = 0.5
    config = RolloutConfig.model_validate(
        {"challenger": "models:/m@challenger", "mode": mode, "compare": compare, "hold": "1ms", "requests": 1}
    )
    state, _ = begin(config, id=f"run-{seed}", model="m", champion=1, challenger=2, now=0.0)
    went_on = None
    for looked, counts in enumerate(_looks(case, seed), start=1):
        # All labels are of the first step's requests, so that it is asked the same to the end, proven or not.
        state = state.after(*state.decide(Evidence({(0, "drawn"): counts}), now=float(looked)))
        if state.step > 0 and went_on is None:
            went_on = looked * EVERY
        if state.status == "rolled_back":
            return Ended(rolled_back=looked * EVERY, went_on=went_on)
    return Ended(rolled_back=None, went_on=went_on)


def _looks(case: Case, seed: int) -> Iterator[StepCounts]:
    """What is known at each look."""
    if case.metric == "absolute_error":
        yield from _numeric_looks(case, seed)
        return
    for champion_K, challenger_K, both_K in _drawn(case, seed):
        if case.mode == "shadow":
            pairs = {1: int(challenger_K[1] - both_K[1]), -1: int(champion_K[1] - both_K[1])}
            pairs[0] = int(challenger_K.sum()) - sum(pairs.values())
            yield StepCounts(requests=int(challenger_K.sum()), pairs=pairs)
        else:
            yield StepCounts(
                requests=int(challenger_K.sum()),
                champion_losses=dict(enumerate(champion_K.tolist())),
                challenger_losses=dict(enumerate(challenger_K.tolist())),
            )


def _drawn(case: Case, seed: int) -> Iterator[tuple[Counts, Counts, Counts]]:
    """Counts [right, wrong] until each look: of the champion, of the challenger, and of requests where both were so."""
    draw = np.random.default_rng(seed)
    of_day = 1 + 0.8 * np.sin(2 * np.pi * np.arange(REQUESTS) / case.day) if case.day else 1.0
    wrong = draw.random(REQUESTS) < CHAMPION_ERRORS * of_day
    wrong_too = draw.random(REQUESTS) < case.challenger_errors * of_day
    canary = draw.random(REQUESTS) < CANARY if case.mode == "canary" else np.ones(REQUESTS, dtype=bool)
    champion = ~canary if case.mode == "canary" else canary
    masks = [~wrong & champion, wrong & champion, ~wrong_too & canary, wrong_too & canary]
    both = [~wrong & ~wrong_too, wrong & wrong_too]
    for counts in np.cumsum([*masks, *both], axis=1)[:, EVERY - 1 :: EVERY].T:
        yield counts[:2], counts[2:4], counts[4:]


def _numeric_looks(case: Case, seed: int) -> Iterator[StepCounts]:
    draw = np.random.default_rng(seed)
    scale = LossScale("absolute_error", 0.5)
    champion = np.minimum(draw.exponential(CHAMPION_ERRORS, REQUESTS), scale.bound)
    challenger = np.minimum(draw.exponential(case.challenger_errors, REQUESTS), scale.bound)
    pairs: Counter[int] = Counter()
    for start in range(0, REQUESTS, EVERY):
        new = zip(challenger[start : start + EVERY].tolist(), champion[start : start + EVERY].tolist(), strict=True)
        pairs.update(scale.level_of_difference(*both) for both in new)
        yield StepCounts(requests=pairs.total(), pairs=dict(pairs))


def _peer(case: Case, runs: int) -> float | None:
    """Share of runs in which a z-test finds the challenger worse at any look, each at 5 %; None for numbers."""
    if case.metric != "error_rate":
        return None
    return float(np.mean([_z_test(case, seed) for seed in range(runs)]))


def _z_test(case: Case, seed: int) -> bool:
    for champion_K, challenger_K, _ in _drawn(case, seed):
        rows = champion_K.sum(), challenger_K.sum()
        if min(rows) == 0:
            continue
        pooled = (champion_K[1] + challenger_K[1]) / sum(rows)
        deviation = np.sqrt(pooled * (1 - pooled) * (1 / rows[0] + 1 / rows[1]))
        difference = challenger_K[1] / rows[1] - champion_K[1] / rows[0] - case.worse_by
        if deviation > 0 and difference / deviation > ndtri(0.95):
            return True
    return False
