"""What is promised and what is tolerated, as it is written in a deployment's `monitor`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtr

from forgeline.errors import UsageError
from forgeline.spec.units import Quantity, TimeSpan

FEWEST_WINDOWS = 20
"""A promise of fewer windows per false alarm than this is none: an alarm would mean little."""


@dataclass(frozen=True, slots=True)
class Rate(Quantity):
    """So many in a time.

    >>> str(Rate.parse("1 per 90d")), Rate.parse("2 per 7d").every_s
    ('1 per 2160h', 302400.0)
    """

    count: int
    span: TimeSpan

    expected: ClassVar[str] = "how many in a time, such as `1 per 90d` or `2 per 12h`, both more than 0"
    pattern: ClassVar[str] = r"^\s*0*[1-9]\d*\s+per\s+(?=.*[1-9])(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d+)?s)?\s*$"
    number: ClassVar[dict[str, Any] | None] = None
    examples: ClassVar[list[str | int | float]] = ["1 per 90d", "2 per 12h"]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        found = re.fullmatch(r"(\d{1,9})\s+per\s+(\S+)", str(value), re.ASCII)
        if found is None or int(found[1]) < 1:
            return None
        try:
            return cls(int(found[1]), TimeSpan.parse(found[2]))
        except ValueError:
            return None

    @property
    def every_s(self) -> float:
        """Seconds from one to the next, on average."""
        return self.span.total_seconds() / self.count

    def __str__(self) -> str:
        return f"{self.count} per {self.span}"


@dataclass(frozen=True, slots=True)
class Tolerance(Quantity):
    """How far rows may have moved without being drift.

    >>> str(Tolerance.parse("0.05 sigma")), round(Tolerance.parse("0.05 sigma").share, 3), Tolerance.parse(0).share
    ('0.05 sigma', 0.02, 0.0)
    """

    amount: float
    unit: Literal["sigma", "tv"]

    expected: ClassVar[str] = (
        "a distance such as `0.05 sigma` (reference deviations, up to 3), `0.02 tv` (total variation, up to 0.5), or 0"
    )
    pattern: ClassVar[str] = r"^\s*(\d+(\.\d+)?|\.\d+)\s*(sigma|tv)\s*$|^\s*0+(\.0+)?\s*$"
    number: ClassVar[dict[str, Any] | None] = {"type": "number", "const": 0}
    examples: ClassVar[list[str | int | float]] = ["0.05 sigma", "0.02 tv", 0]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,15})?|\.\d{1,15})\s*(sigma|tv)?", str(value), re.ASCII)
        if found is None:
            return None
        amount, unit = float(Decimal(found[1])), found[2]
        if unit is None:
            return cls(0.0, "sigma") if amount == 0 else None
        if amount > (3.0 if unit == "sigma" else 0.5):
            return None
        return cls(amount, "tv" if unit == "tv" else "sigma")

    @property
    def share(self) -> float:
        """The total variation that it allows: of sigma, that of a normal variable which moved by so much."""
        return self.amount if self.unit == "tv" else float(2 * ndtr(self.amount / 2) - 1)

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}" if self.amount else "0"


class Promise(BaseModel):
    """How often the whole monitor may cry wolf."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_alarms: Rate = Field(
        default=Rate(1, TimeSpan(90 * 86_400_000)),
        description="False alarms of all watched features together, on average, while nothing drifts: `1 per 90d`.",
    )

    def windows(self, window: TimeSpan) -> float:
        """Windows from one false alarm to the next, on average, that the promise comes to.

        Raises:
            UsageError: these are fewer than `FEWEST_WINDOWS`.
        """
        found = self.false_alarms.every_s / window.total_seconds()
        if not math.isfinite(found) or found < FEWEST_WINDOWS:
            raise UsageError(
                f"monitor.promise.false_alarms of {self.false_alarms} with windows of {window} is a false alarm every "
                f"{found:g} windows; allowed: every {FEWEST_WINDOWS} or more: promise fewer, or take shorter windows"
            )
        return found


class ToleranceSpec(BaseModel):
    """How far features may move without an alarm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: Tolerance = Field(
        default=Tolerance(0.05, "sigma"),
        description="Of features that are not named: `0.05 sigma`, `0.02 tv`, or 0 for any change at all.",
    )
    features: dict[str, Tolerance] = Field(
        default_factory=dict, description="Tolerances by the name of a column or output."
    )

    def of(self, feature: str) -> Tolerance:
        """The tolerance of a feature."""
        return self.features.get(feature, self.default)
