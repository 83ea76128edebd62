"""How a promise is divided: over references that deceive, sudden and lasting changes, and features.

Given the reference, let a window alarm suddenly with probability a, and let M_t be an e-detector (without drift M_t - t
does not grow on average) that alarms at c. At the first alarm, at time T, P(lasting) <= E[M_T] / c <= E[T] / c, and
P(sudden) <= a E[T]: so E[T] >= 1 / (1 / c + a), and the rates add up. An average of e-detectors is one (J. Shin, A.
Ramdas, A. Rinaldo: E-detectors, NEJSDS 2 (2024), 229-260): c is not divided over features, as a is. Over references a
has the mean that its test promises; 1 / x is convex, so that E[T] is no less for it. A share d of references is outside
its confidence bounds, and those that are not have at most a / (1 - d): E[T] >= (1 - d)^2 / (1 / c + a).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DECEIVING = 0.01
"""Probability that any of a monitor's confidence bounds fails: of 100 monitors, one may keep less than it promised."""
SUDDEN = 0.5
"""Part of the rate of false alarms that is for sudden change."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Thresholds.

    Attributes:
        sudden: a feature alarms at p-values up to this.
        lasting: the family alarms where its evidence reaches this.
        log_odds: ln(1 / d) of the probability d that one confidence bound may fail with.
    """

    sudden: float
    lasting: float
    log_odds: float

    @classmethod
    def of(cls, windows: float, *, features: int, bounds: int) -> Budget:
        """Of a promise of so many windows, on average, to a false alarm of the whole family.

        Args:
            windows: the promise.
            features: that are tested in each window.
            bounds: confidence bounds of all of them.
        """
        rate = (1 - DECEIVING) ** 2 / windows
        return cls(
            sudden=SUDDEN * rate / max(features, 1),
            lasting=1 / ((1 - SUDDEN) * rate),
            log_odds=math.log(max(bounds, 1) / DECEIVING),
        )
