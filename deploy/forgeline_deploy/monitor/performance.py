"""How well labelled answers did: sums that merge, so that labels may come in any number of files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ErrorSums:
    """Distances of labels from predictions.

    Attributes:
        total: their sum.
        squares: the sum of their squares.
    """

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """The mean absolute error, in units of the target."""
        return self.total / self.rows if self.rows else math.nan

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        if self.rows < 2:
            return math.inf
        variance = max(self.squares - self.total**2 / self.rows, 0.0) / (self.rows - 1)
        return math.sqrt(variance / self.rows)

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(self.rows + other.rows, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Answers whose labels are known. `+` merges.

    Attributes:
        correct: those that were right; None of predicted numbers.
        error: of predicted numbers; None of classes.
    """

    rows: int
    correct: int | None = None
    error: ErrorSums | None = None

    def __add__(self, other: Labelled) -> Labelled:
        correct = None if self.correct is None and other.correct is None else (self.correct or 0) + (other.correct or 0)
        error = None if self.error is None and other.error is None else (self.error or _NONE) + (other.error or _NONE)
        return Labelled(rows=self.rows + other.rows, correct=correct, error=error)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        sums = None if self.error is None else [self.error.rows, self.error.total, self.error.squares]
        return {"rows": self.rows, "correct": self.correct, "error": sums}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Labelled:
        """Read again from JSON."""
        error = plain["error"]
        return cls(rows=plain["rows"], correct=plain["correct"], error=None if error is None else ErrorSums(*error))


_NONE = ErrorSums()
