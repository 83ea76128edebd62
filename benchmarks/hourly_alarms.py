"""The drift alarm's promise where every hour has a reference of its own: streams with a rhythm and without drift.

    make acceptance ONLY=drift-hours

The middle of every feature goes up and down over 24 hours of 12 windows each, again and again. An hour's reference is
a sample of its own, drawn anew in every run, as earlier weeks would have counted it; the model's is one of all hours.
Otherwise as `benchmarks.drift_alarms`, against whose bar these run lengths are held. Beside them stands what a detector
does that has the model's reference alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtr

from benchmarks.drift_alarms import AT_LEAST, HORIZON, PROMISE, RUNS, Say, in_parallel
from forgeline.bundle.observation import Counts, Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import NumericCounts, NumericReference
from forgeline_deploy.detection import Detector, HourlyDetector, Tolerance, ToleranceSpec

HOURS, WINDOWS_AN_HOUR, ROWS = 24, 12, 200
MODEL_ROWS, HOUR_ROWS = 5_000, 2_000
CELLS = (1, 10)
"""Features."""
_SEED = 7


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The rows of the group."""
    return {_name(features): partial(run_lengths, features, say) for features in CELLS}


def _name(features: int) -> str:
    count = "1 feature" if features == 1 else f"{features} features"
    return f"hours, normal, {count}, windows of {ROWS}, reference {HOUR_ROWS:,} an hour"


def run_lengths(features: int, say: Say) -> dict[str, Any]:
    """Windows to the first alarm of any feature."""
    started = time.perf_counter()
    both = in_parallel(partial(first_alarms, features), RUNS)
    hourly, always = (np.minimum([one[side] for one in both], HORIZON) for side in (0, 1))
    error = float(hourly.std(ddof=1) / np.sqrt(RUNS))
    bound = float(hourly.mean()) - 1.96 * error
    row = {
        "metric": f"average run length, cut at {HORIZON:,}: lower 95 % bound, in windows",
        "measured": round(bound, 1),
        "at_least": AT_LEAST,
        "mean": round(float(hourly.mean()), 1),
        "runs": RUNS,
        "horizon": HORIZON,
        "promised": PROMISE,
        "alarms": sum(one[0] <= HORIZON for one in both),
        "mean_by_the_model_s_reference": round(float(always.mean()), 1),
        "seconds": round(time.perf_counter() - started, 1),
        "met": bound >= AT_LEAST,
    }
    say(f"{_name(features)}: {row['measured']} (mean {row['mean']}), {row['alarms']} alarms, {row['seconds']} s")
    return row


def first_alarms(features: int, run: int) -> tuple[int, int]:
    """Number of the window that alarms first, by the hours and by the model; horizon + 1 where none does."""
    rng = np.random.default_rng([_SEED, run, features])
    middles_H = np.sin(2 * np.pi * np.arange(HOURS) / HOURS)
    names = [f"x{number}" for number in range(features)]
    known = {
        name: NumericReference.of(rng.standard_normal(MODEL_ROWS) + rng.choice(middles_H, MODEL_ROWS)) for name in names
    }
    reference = Reference(samples=MODEL_ROWS, inputs={**known})
    settings: dict[str, Any] = {"windows": PROMISE, "tolerance": ToleranceSpec(default=Tolerance.parse("0"))}
    hourly = HourlyDetector(reference, fewest_rows=1, **settings)
    before = [_drawn(rng, known, middle, HOUR_ROWS) for middle in middles_H]
    by_model = Detector(reference, **settings)
    always = HORIZON + 1
    for number in range(HORIZON):
        hour = number // WINDOWS_AN_HOUR % HOURS
        window = _drawn(rng, known, middles_H[hour], ROWS)
        if always > HORIZON and by_model.step(window).alarm:
            always = number + 1
        if hourly.step(before[hour], window).alarm:
            return number + 1, min(always, number + 1)
    return HORIZON + 1, always


def _drawn(rng: np.random.Generator, known: Mapping[str, NumericReference], middle: float, rows: int) -> Observation:
    """Rows of an hour, as their counts."""
    counted: dict[str, Counts] = {}
    for name, held in known.items():
        edges = np.asarray([held.minimum, *held.edges, held.maximum])
        shares = np.diff(ndtr(edges - middle), prepend=0.0, append=1.0)
        below, *bins, above = rng.multinomial(rows, shares).tolist()
        counted[name] = NumericCounts(
            bins=np.asarray(bins, dtype=np.int64),
            below=below,
            above=above,
            missing=0,
            steps=0,
            minimum=held.minimum,
            maximum=held.maximum,
        )
    return Observation(rows=rows, inputs=counted)
