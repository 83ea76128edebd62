"""What an answer loses against its label, within a bound, and the whole numbers that losses are counted in.

Counts of whole numbers add up exactly, in any order. A loss of a class is 0 or 1 and loses nothing by it; other losses
are rounded to levels of 1/500 of the bound, always to the side that decides less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

Metric = Literal["error_rate", "absolute_error", "squared_error", "log_loss"]
METRICS: tuple[str, ...] = get_args(Metric)
LEVELS = 500


@dataclass(frozen=True, slots=True)
class LossScale:
    """The levels of a metric's losses.

    Attributes:
        metric: what is compared.
        bound: the largest loss that counts, in the metric's unit.
    """

    metric: Metric
    bound: float = 1.0

    @property
    def levels(self) -> int:
        """Into how many levels the bound is divided."""
        return 1 if self.metric == "error_rate" else LEVELS

    @property
    def exact(self) -> bool:
        """Whether a level says all about a loss."""
        return self.metric == "error_rate"

    def loss(self, answer: Any, label: Any) -> float:
        """The loss of one answer, 0 to `bound`.

        Args:
            answer: a class of `error_rate`, a number of the errors, the probability that was given to the label's
                class of `log_loss`.
            label: the class or number that was right; of `log_loss` it is not looked at.

        Raises:
            ValueError: the answer or the label is no finite number where one is needed, or no probability.
        """
        if self.metric == "error_rate":
            return float(answer != label)
        if self.metric == "log_loss":
            if not 0 <= float(answer) <= 1:
                raise ValueError(f"answer: got {answer!r}; allowed: the probability of the label's class, 0 to 1")
            return min(-math.log(float(answer)), self.bound) if float(answer) > 0 else self.bound
        difference = abs(float(answer) - float(label))
        if not math.isfinite(difference):
            raise ValueError(f"got the answer {answer!r} and the label {label!r}; allowed: finite numbers")
        return min(difference if self.metric == "absolute_error" else difference**2, self.bound)

    def level(self, loss: float) -> int:
        """The level of a loss: it is between this and the next, of 0 to `levels`."""
        return min(math.floor(loss / self.bound * self.levels), self.levels)

    def level_of_difference(self, challenger: float, champion: float) -> int:
        """The level of how much more the challenger lost on the same request: -`levels` to `levels`."""
        return min(math.floor((challenger - champion) / self.bound * self.levels), self.levels)
