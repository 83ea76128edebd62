"""The drift alarm's promise: how long streams without drift run until the first false alarm, and delays with drift.

    make acceptance ONLY=drift             # every cell, about three hours on two cores
    make acceptance ONLY=drift-50          # windows of 50 rows

Every run draws a reference of its own, as a training run would, builds the detector from it, and counts windows in its
bins: multinomial, by the shares that the bins truly have. The tolerance is 0, with which an alarm is easiest. Runs end
at a horizon, so that the mean of the run lengths is a lower bound of the average run length.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline_deploy.detection import Detector, Tolerance, ToleranceSpec, evidence

Say = Callable[[str], None]
Floats = NDArray[np.float64]
Run = TypeVar("Run")

PROMISE = 1_000
AT_LEAST = 900
RUNS = 400
HORIZON = 1_500
_AT_ONCE = 250  # windows
_SEED = 6

KINDS = ("normal", "heavy-tailed", "categorical")
FEATURES = (1, 20, 100)
WINDOWS = (50, 200, 1_000, 10_000)
REFERENCES = (5_000, 50_000)
CATEGORIES = (2, 8, 30, 300)
"""Categories of features in turn, with shares as 1, 1/2, 1/3, …; of 300, a reference names 120."""

SHIFTS = {0.1: 10, 0.2: 2, 0.5: 1}
"""Shift of a normal feature in deviations, to the median delay that is asked for."""
_DELAY_ROWS = 500
_LONGEST_DELAY = 400


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What a run sees.

    Attributes:
        kind: of the features, one of `KINDS`.
        features: how many, independent of each other.
        rows: of a window.
        reference_rows: of the reference, fresh in every run.
        shift: of the first feature, in deviations of a normal one.
        tolerance: of the detector.
    """

    kind: str
    features: int
    rows: int
    reference_rows: int
    shift: float = 0.0
    tolerance: str = "0"

    @property
    def name(self) -> str:
        """As the row of a result file is called."""
        count = "1 feature" if self.features == 1 else f"{self.features} features"
        shown = f"{self.kind}, {count}, windows of {self.rows:,}, reference {self.reference_rows:,}"
        return shown + (f", shift {self.shift:g}, tolerance {self.tolerance}" if self.shift else "")


def groups(say: Say) -> dict[str, Mapping[str, Callable[[], dict[str, Any]]]]:
    """Groups of rows by name, those at most risk first."""
    found: dict[str, Mapping[str, Callable[[], dict[str, Any]]]] = {}
    for rows in WINDOWS:
        cells = [
            Stream(kind=kind, features=features, rows=rows, reference_rows=reference_rows)
            for features, reference_rows, kind in product(reversed(FEATURES), REFERENCES, reversed(KINDS))
        ]
        found[f"drift-{rows}"] = {cell.name: partial(run_lengths, cell, say) for cell in cells}
    delayed = [
        Stream(kind="normal", features=features, rows=_DELAY_ROWS, reference_rows=size, shift=shift, tolerance=allowed)
        for features, size, allowed, shift in product((1, 20, 100), (50_000, 5_000), ("0", "0.05 sigma"), SHIFTS)
    ]
    found["drift-delay"] = {stream.name: partial(delays, stream, say) for stream in delayed}
    return found


def run_lengths(cell: Stream, say: Say) -> dict[str, Any]:
    """Windows to the first alarm of any feature, in streams without drift."""
    started = time.perf_counter()
    lengths = np.asarray(in_parallel(partial(first_alarm, cell, horizon=HORIZON), RUNS), dtype=np.float64)
    ended = lengths <= HORIZON
    lengths = np.minimum(lengths, HORIZON)
    error = float(lengths.std(ddof=1) / np.sqrt(len(lengths)))
    bound = float(lengths.mean()) - 1.96 * error
    row = {
        "metric": f"average run length, cut at {HORIZON:,}: lower 95 % bound, in windows",
        "measured": round(bound, 1),
        "at_least": AT_LEAST,
        "mean": round(float(lengths.mean()), 1),
        "runs": RUNS,
        "horizon": HORIZON,
        "promised": PROMISE,
        "alarms": int(ended.sum()),
        # Of runs that are cut at the horizon, the maximum likelihood of a constant rate.
        "windows_per_alarm": round(float(lengths.sum() / ended.sum())) if ended.any() else None,
        "seconds": round(time.perf_counter() - started, 1),
        "met": bound >= AT_LEAST,
    }
    say(f"{cell.name}: {row['measured']} (mean {row['mean']}), {row['alarms']} alarms, {row['seconds']} s")
    return row


def delays(stream: Stream, say: Say) -> dict[str, Any]:
    """Windows from a shift, that is there from the first window on, to the alarm."""
    started = time.perf_counter()
    found = in_parallel(partial(first_alarm, stream, horizon=_LONGEST_DELAY), RUNS)
    median = float(statistics.median(found))
    asked = stream.features == 1 and stream.reference_rows == 50_000 and stream.tolerance == "0"
    at_most = SHIFTS[stream.shift] if asked else None
    row = {
        "metric": "median delay, in windows",
        "measured": min(median, float(_LONGEST_DELAY)),
        "at_most": at_most,
        "nine_in_ten": float(np.quantile(np.minimum(found, _LONGEST_DELAY), 0.9)),
        "runs": RUNS,
        "never_in": _LONGEST_DELAY,
        "never": sum(one > _LONGEST_DELAY for one in found),
        "promised": PROMISE,
        "seconds": round(time.perf_counter() - started, 1),
        "met": at_most is None or median <= at_most,
    }
    say(f"{stream.name}: median {median:g}, nine in ten {row['nine_in_ten']:g}, never {row['never']}")
    return row


def first_alarm(stream: Stream, run: int, *, horizon: int) -> int:
    """Number of the window that alarms first; horizon + 1 where none does until then."""
    rng = np.random.default_rng(
        [_SEED, run, stream.features, stream.rows, stream.reference_rows, *stream.kind.encode()]
    )
    drawn = [_feature(stream, run + number, rng, shifted=number == 0) for number in range(stream.features)]
    reference = Reference(
        samples=stream.reference_rows, inputs={f"x{number}": known for number, (known, _) in enumerate(drawn)}
    )
    detector = Detector(
        reference, windows=PROMISE, tolerance=ToleranceSpec(default=Tolerance.parse(stream.tolerance)), outputs=False
    )
    weights_J = np.concatenate([watch.placed.weights_J for watch in detector.watches]) / stream.features
    evidence_J = np.zeros(len(weights_J))
    at_once = min(_AT_ONCE, horizon)
    for start in range(0, horizon, at_once):
        size = min(at_once, horizon - start)
        gains, sudden = [], np.zeros(size, dtype=bool)
        for watch, (_, shares_K) in zip(detector.watches, drawn, strict=True):
            windows_TK = rng.multinomial(stream.rows, shares_K, size=size)
            gains.append(watch.log_gains(windows_TK))
            sudden |= watch.sudden(windows_TK)[1] <= detector.budget.sudden
        gains_TJ = np.concatenate(gains, axis=1)
        for number in range(size):
            evidence_J = evidence.advanced(evidence_J, gains_TJ[number])
            if sudden[number] or weights_J @ evidence_J >= detector.budget.lasting:
                return start + number + 1
    return horizon + 1


def _feature(
    stream: Stream, number: int, rng: np.random.Generator, *, shifted: bool
) -> tuple[NumericReference | CategoricalReference, Floats]:
    """A reference from a sample, and the shares that its cells truly have in the stream."""
    size = stream.reference_rows
    if stream.kind == "categorical":
        shares = 1 / np.arange(1.0, CATEGORIES[number % len(CATEGORIES)] + 1)
        shares /= shares.sum()
        counts = rng.multinomial(size, shares)
        seen = np.flatnonzero(counts)
        named = CategoricalReference.of([str(one) for one in seen], counts[seen])
        own = shares[[int(name) for name in named.counts]]
        return named, np.concatenate([[0.0], own, [max(1.0 - own.sum(), 0.0)]])
    draw, cumulative = (rng.standard_normal, ndtr) if stream.kind == "normal" else (rng.standard_cauchy, _cauchy)
    known = NumericReference.of(draw(size))
    edges = np.asarray([known.minimum, *known.edges, known.maximum])
    until = cumulative(edges - (stream.shift if shifted else 0.0))
    return known, np.concatenate([[0.0], np.diff(until, prepend=0.0, append=1.0)])


def _cauchy(values: Floats) -> Floats:
    shares: Floats = 0.5 + np.arctan(values) / np.pi
    return shares


def in_parallel(run: Callable[[int], Run], runs: int) -> Sequence[Run]:
    """Every run, over the cores that there are; each has a seed of its own, so that their number changes nothing."""
    workers = len(os.sched_getaffinity(0))
    if workers == 1:
        return [run(number) for number in range(runs)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(run, range(runs), chunksize=4))
