"""Population based training: at the end of each interval the worst trials copy the best ones, and try other values.

Jaderberg et al. 2017, arXiv:1711.09846: truncation selection as exploit, resampling or perturbing as explore (section
4.1 and appendix A). PB2, Parker-Holder et al. 2020, arXiv:2002.02518, explores by a model instead: see `bandit`.

The whole population is looked at together, when all of it has trained as far. What is decided then follows from the
reports, the seed and the step alone, not from who was quicker: a sweep that was killed decides the same again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from forgeline_jobs.sweep.constraints import Constraint, broken_by
from forgeline_jobs.sweep.space import Dimension, Values
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Copy, Outcome, Trial

if TYPE_CHECKING:
    from numpy.random import Generator

RESAMPLED = 0.25
"""Probability that a key is drawn anew, not perturbed."""

FACTORS = (0.8, 1.2)

TRIES = 1000
"""Perturbations that may break a constraint before the source's own values are taken."""

Allowed = Callable[[Mapping[str, Any]], bool]
"""Whether values break no constraint."""

Explore = Callable[[Mapping[str, Any]], Values]
"""From the values of a source, those that its copy tries; the same where none that it finds are allowed."""


class Population:
    """Decides which trials copy which.

    Args:
        spec: of the sweep.
        maximise: whether more is better.
        known: of the train spec, the keys that constraints may name, with their values.
    """

    def __init__(self, spec: SweepSpec, *, maximise: bool, known: Mapping[str, Any]) -> None:
        self._spec = spec
        self._maximise = maximise
        self._known = known
        self._constraints = [Constraint(text) for text in spec.constraints]

    def copies(self, trials: Sequence[Trial], step: int) -> list[Copy]:
        """What becomes of the trials that have reported at a step, and have not ended; the worst copy first.

        Args:
            trials: of the whole sweep.
            step: the end of an interval.
        """
        import numpy as np

        living = [trial for trial in trials if trial.outcome is Outcome.OPEN and step in trial.reports]
        order = sorted(living, key=lambda trial: (self.cost(trial, step), trial.number))
        count = min(math.ceil(len(order) * self._spec.search.quantile), len(order) // 2)
        if not count:
            return []
        best, worst = order[:count], order[-count:][::-1]
        rng = np.random.default_rng([self._spec.search.seed, step])
        explore = self._explore(trials, step, staying=[trial for trial in living if trial not in worst], rng=rng)
        found = []
        for trial in worst:
            source = best[int(rng.integers(count))]
            values = explore(source.values)
            found.append(Copy(trial=trial.number, source=source.number, values=values, step=step))
        return found

    def cost(self, trial: Trial, step: int) -> float:
        """Less is better, and no number is worst."""
        value = trial.reports[step][0]
        return math.inf if math.isnan(value) else -value if self._maximise else value

    def _explore(self, trials: Sequence[Trial], step: int, *, staying: Sequence[Trial], rng: Generator) -> Explore:
        if self._spec.search.algorithm == "pbt":
            return partial(self._perturb, rng)
        from forgeline_jobs.sweep.bandit import Bandit  # imports scikit-learn, which only this algorithm pays for

        bandit = Bandit(self._spec, trials, step, cost=self.cost, staying=staying, allowed=self._is_allowed, rng=rng)
        return bandit.explore

    def _perturb(self, rng: Generator, values: Mapping[str, Any]) -> Values:
        for _ in range(TRIES):
            found = {key: perturbed(dimension, values[key], rng) for key, dimension in self._spec.space.items()}
            if self._is_allowed(found):
                return found
        return dict(values)

    def _is_allowed(self, values: Mapping[str, Any]) -> bool:
        return not any(broken_by(constraint, {**self._known, **values}) for constraint in self._constraints)


def perturbed(dimension: Dimension, value: Any, rng: Generator) -> Any:
    """A value near another one, or now and then any of the dimension's: of a choice, a neighbour or the same."""
    if rng.random() < RESAMPLED:
        return dimension.at(float(rng.random()))
    if dimension.kind == "choice":
        at = dimension.options.index(value) + int(rng.integers(-1, 2))
        return dimension.options[min(max(at, 0), len(dimension.options) - 1)]
    return dimension.nearest(value * FACTORS[int(rng.integers(2))])
