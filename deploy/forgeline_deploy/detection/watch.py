"""One feature that is watched: its cells, its bets, and its test for sudden change, made ready from the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from forgeline.distributions import NumericReference
from forgeline_deploy.detection import bets, cells, directions, movement, sudden

if TYPE_CHECKING:
    from forgeline.bundle.reference import Distribution
    from forgeline_deploy.detection.spec import Tolerance

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Role = Literal["input", "output"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """A feature with K cells and J bets.

    Attributes:
        feature: its name.
        role: whether it goes into the model or comes out of it.
        distribution: what it was like in the reference.
        reference_K: the same, by cell.
        placed: bets on a lasting change.
        allowed: what of a cumulative share (numbers) or in total variation (categories) is tolerated.
    """

    feature: str
    role: Role
    distribution: Distribution
    reference_K: Integers
    placed: bets.Bets
    allowed: float

    @classmethod
    def of(
        cls,
        feature: str,
        role: Role,
        distribution: Distribution,
        tolerance: Tolerance,
        log_odds: float,
        *,
        both_sides: bool = False,
        bins_of: Distribution | None = None,
    ) -> Watch:
        """A feature, with confidence bounds that fail with a probability of exp(-log_odds) each.

        Args:
            bins_of: the model's reference, where the distribution is another sample that was counted in its bins.
        """
        reference_K = cells.of_reference(distribution)
        allowed = tolerance.share
        if isinstance(distribution, NumericReference) and any(distribution.counts):
            held = bins_of if isinstance(bins_of, NumericReference) else None
            allowed = movement.of(distribution, tolerance, bins_of=held).cumulative
        return cls(
            feature=feature,
            role=role,
            distribution=distribution,
            reference_K=reference_K,
            placed=bets.place(directions.of(distribution, tolerance, log_odds, bins_of=bins_of), both_sides=both_sides),
            allowed=allowed,
        )

    @property
    def key(self) -> str:
        """The feature's name within the monitor: a column may be called as an output is."""
        return f"{self.role}:{self.feature}"

    def log_gains(self, windows_BK: Integers) -> Floats:
        """Logarithm of what each bet was multiplied by in B windows [B, J]."""
        if not len(self.placed.weights_J):
            return np.zeros((*windows_BK.shape[:-1], 0))
        gains: Floats = windows_BK.astype(np.float64) @ self.placed.log_factors_KJ
        return gains

    def sudden(self, windows_BK: Integers) -> tuple[Floats, Floats]:
        """Statistics and p-values [B] of B windows: Smirnov's of numbers, G of the named categories."""
        if isinstance(self.distribution, NumericReference):
            return sudden.smirnov(self.reference_K[1:], windows_BK[..., 1:], allowed=self.allowed)
        # Which categories have a name was read off the reference's rows: the others are no cell of a two-sample test.
        return sudden.multinomial(self.reference_K[1:-1], windows_BK[..., 1:-1], allowed=self.allowed)
