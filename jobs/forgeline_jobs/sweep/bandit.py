"""PB2's exploration: a model of how much an interval of training improves, as the training goes on and values change.

Parker-Holder et al. 2020, arXiv:2002.02518, algorithm 2: a time-varying Gaussian process on the improvement over one
interval, and the largest upper confidence bound, with the values of the trials that go on beside taken as observed.
The process forgets by (1 - e)^(|t - t'| / 2) (equation 4), which is the exponential kernel exp(-|t - t'| / l). The
weight of the deviation grows as c1 log(c2 n) (Bogunovic et al. 2016, arXiv:1601.06650, section 5: c1 0.8, c2 4).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.sweep.space import Values
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Trial

if TYPE_CHECKING:
    from numpy.random import Generator
    from sklearn.gaussian_process import GaussianProcessRegressor

Array = NDArray[np.float64]

CANDIDATES = 2048
FEWEST = 3
"""Intervals that were seen before a model of them is made; values are drawn uniformly until then."""

C1, C2 = 0.8, 4.0

_APART = 1e5
"""A length so long that the kernel does not see the column."""


class Bandit:
    """Chooses the values that copies try, one after another.

    Args:
        spec: of the sweep; its dimensions are numbers.
        trials: of the whole sweep.
        step: the end of the interval that has passed.
        cost: of a trial at a step; less is better.
        staying: trials that go on as they are.
        allowed: whether values break no constraint.
        rng: draws the candidates.
    """

    def __init__(
        self,
        spec: SweepSpec,
        trials: Sequence[Trial],
        step: int,
        *,
        cost: Callable[[Trial, int], float],
        staying: Sequence[Trial],
        allowed: Callable[[Mapping[str, Any]], bool],
        rng: Generator,
    ) -> None:
        self._space = spec.space
        self._interval = spec.search.interval.value
        self._cost = cost
        self._trials = trials
        self._allowed = allowed
        self._rng = rng
        self._now = step // self._interval
        rows = [row for trial in trials for row in self._rows(trial, step)]
        self._features: Array = np.array([features for features, _ in rows]).reshape(len(rows), 2 + len(self._space))
        self._gains = _standardised(np.array([gain for _, gain in rows]), self._features[:, 0])
        levels = self._features[:, 1] if len(rows) else np.zeros(1)
        self._level, self._spread = float(levels.mean()), float(levels.std()) or 1.0
        self._features[:, 1] = (self._features[:, 1] - self._level) / self._spread
        levels_now = ((trial.values, cost(trial, step)) for trial in staying)
        self._pending = [self._point(values, level) for values, level in levels_now if math.isfinite(level)]
        self._model = self._fitted() if len(rows) >= FEWEST else None
        self._step = step

    def explore(self, values: Mapping[str, Any]) -> Values:
        """The most promising values, of those that are allowed, for a copy of the trial that has these."""
        drawn = self._rng.random((CANDIDATES, len(self._space)))
        possible = [at for at in range(CANDIDATES) if self._allowed(self._values(drawn[at]))]
        if not possible:
            return dict(values)
        source = next(trial for trial in self._trials if trial.values is values)
        level = self._cost(source, self._step)
        if self._model is None or not math.isfinite(level):
            return self._values(drawn[possible[0]])
        start = self._point(values, level)[:2]
        candidates = np.hstack([np.tile(start, (len(possible), 1)), drawn[possible]])
        chosen = candidates[int(np.argmax(self._bound(self._model, candidates)))]
        self._pending.append(chosen)
        return self._values(chosen[2:])

    def _rows(self, trial: Trial, step: int) -> list[tuple[list[float], float]]:
        """What is known of a trial's intervals: time, level before, values, and the improvement."""
        found = []
        for end in range(2 * self._interval, step + 1, self._interval):
            start = end - self._interval
            if end not in trial.reports:
                break
            copy = next((copy for copy in trial.copies if copy.step == start), None)
            earlier = trial if copy is None else self._trials[copy.source]
            before, after = self._cost(earlier, start), self._cost(trial, end)
            if math.isfinite(before) and math.isfinite(after):
                shares = self._shares(values_at(trial, start))
                found.append(([start / self._interval, before, *shares], before - after))
        return found

    def _shares(self, values: Mapping[str, Any]) -> list[float]:
        return [dimension.share(values[key]) for key, dimension in self._space.items()]

    def _point(self, values: Mapping[str, Any], level: float) -> Array:
        return np.array([self._now, (level - self._level) / self._spread, *self._shares(values)])

    def _values(self, shares: Array) -> Values:
        return {
            key: dimension.at(float(share)) for (key, dimension), share in zip(self._space.items(), shares, strict=True)
        }

    def _fitted(self) -> GaussianProcessRegressor:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

        others = 1 + len(self._space)
        free, apart = (1e-1, 1e2), (_APART, _APART)
        values = RBF([_APART, *[1.0] * others], [apart, *[free] * others])
        time = Matern([1.0, *[_APART] * others], [free, *[apart] * others], nu=0.5)
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * values * time + WhiteKernel(1e-2, (1e-4, 1e1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at the end of its range
            return GaussianProcessRegressor(kernel).fit(self._features, self._gains)

    def _bound(self, model: GaussianProcessRegressor, candidates: Array) -> Array:
        """Upper confidence bound of the improvement; what is under way lowers the deviation, and not the mean."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        mean = model.predict(candidates)
        seen = np.vstack([self._features, *self._pending])
        gains = np.concatenate([self._gains, model.predict(np.vstack(self._pending))]) if self._pending else self._gains
        with_pending = GaussianProcessRegressor(model.kernel_, optimizer=None).fit(seen, gains)
        _, noisy = with_pending.predict(candidates, return_std=True)
        noise = model.kernel_.k2.noise_level  # which a prediction's deviation has, and the improvement itself has not
        deviation = np.sqrt(np.maximum(noisy**2 - noise, 0.0))
        weight = max(C1 * math.log(C2 * len(self._gains)), 0.0)
        bound: Array = mean + math.sqrt(weight) * deviation
        return bound


def _standardised(gains: Array, times: Array) -> Array:
    """Gains with mean 0 and deviation 1 within each interval, so that those of late ones count as much.

    The paper standardises over all; but training slows down, and what is compared are values at the same time.
    """
    found: Array = np.zeros_like(gains)
    for time in np.unique(times):
        within = gains[times == time]
        found[times == time] = (within - within.mean()) / (within.std() or 1.0)
    return found


def values_at(trial: Trial, step: int) -> Mapping[str, Any]:
    """The values that a trial went on with from a step."""
    return next((copy.values for copy in reversed(trial.copies) if copy.step <= step), trial.begun)
