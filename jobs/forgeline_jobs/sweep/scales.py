"""Where a value of a key is along an axis: numbers by their logarithm where the space says so, choices one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import MultipleLocator

from forgeline.plots.figure import plain
from forgeline_jobs.sweep.space import all_keys
from forgeline_jobs.sweep.spec import SweepSpec


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis.

    Attributes:
        low: place of its lower end.
        high: place of its upper end.
        logarithmic: whether places are the logarithms (of ten) of values.
        options: of a choice, as text; empty for numbers.
    """

    low: float
    high: float
    logarithmic: bool = False
    options: Sequence[str] = ()

    @classmethod
    def of_numbers(cls, values: Sequence[float], *, logarithmic: bool | None = None) -> Scale:
        """From the least to the most of them; by logarithms where they are positive and far apart, if not told."""
        low, high = min(values), max(values)
        log = (low > 0 and high / low >= 50) if logarithmic is None else logarithmic
        return cls(low=math.log10(low), high=math.log10(high), logarithmic=True) if log else cls(low=low, high=high)

    def place(self, value: Any) -> float:
        """Where a value is."""
        if self.options:
            return float(self.options.index(_text(value)))
        return math.log10(value) if self.logarithmic else float(value)

    def share(self, value: Any) -> float:
        """Where it is between the ends, from 0 to 1."""
        span = self.high - self.low
        return (self.place(value) - self.low) / span if span else 0.5

    def marks(self) -> list[tuple[float, str]]:
        """Shares that are marked, with what is written there."""
        if self.options:
            return [(self.share(option), option) for option in self.options]
        places = np.linspace(self.low, self.high, 3 if self.high > self.low else 1)
        return [(self.share(value), f"{value:.3g}") for value in (self._value(place) for place in places)]

    def mark(self, axis: Axis) -> None:
        """Write values where an axis has places."""
        if self.options:
            axis.set_ticks(range(len(self.options)), [plain(option, 16) for option in self.options])
        elif self.logarithmic:
            if self.high - self.low >= 2:
                axis.set_major_locator(MultipleLocator(1.0))
            axis.set_major_formatter(lambda place, at: f"{10**place:.2g}")

    def _value(self, place: float) -> float:
        return 10 ** float(place) if self.logarithmic else float(place)


def scales_of(spec: SweepSpec) -> dict[str, Scale]:
    """One for each key. A key that several choices bring has all that any of them allows."""
    found: dict[str, Scale] = {}
    for key, dimension in all_keys(spec.space):
        if dimension.kind == "choice":
            options = [_text(option) for option in dimension.options]
            before = found[key].options if key in found else ()
            merged = list(dict.fromkeys([*before, *options]))
            found[key] = Scale(low=0.0, high=float(len(merged) - 1), options=merged)
            continue
        low, high = dimension.ends
        log = dimension.kind.startswith("log")
        if key in found and not found[key].options:
            low, high = (min(low, found[key]._value(found[key].low)), max(high, found[key]._value(found[key].high)))
            log = log and found[key].logarithmic
        found[key] = Scale.of_numbers([low, high], logarithmic=log)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
