"""An accuracy that no label was needed for, and what speaks against it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

PREFIX = "estimated_"
_MUCH_OUTSIDE = 0.05
_LITTLE_REACH = 0.5
_MUCH_MOVED = 0.1


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Of a window.

    Attributes:
        accuracy: share of right answers that is expected, between `low` and `high`: an interval of 95 %, given that
            what is true of an input is as it was.
        below: share of rows of which the model is less sure than of every held-out row.
        outside: of the input that has most of them, the share of values beyond the range of the training rows.
        moved: how far the shares of predicted classes are from those of held-out rows: total variation, 0 to 1.
        reach: what share of the held-out rows is like the rows of the window, 0 to 1; fewer widen the interval.
    """

    accuracy: float
    low: float
    high: float
    below: float
    outside: float
    moved: float
    reach: float

    def figures(self) -> dict[str, float | None]:
        """By name, as measures of a window have them."""
        return {f"{PREFIX}{name}": value for name, value in asdict(self).items()}


def text_of(measured: Mapping[str, float | None]) -> str | None:
    """One line for a person, of measures of a window; None where there is no estimate."""
    figures = _figures(measured)
    if figures is None:
        return None
    warned = "; ".join(warnings_of(measured))
    line = f"accuracy about {figures.accuracy:.1%} ({figures.low:.1%} to {figures.high:.1%}), estimated without labels"
    return f"{line}; {warned}" if warned else line


def warnings_of(measured: Mapping[str, float | None]) -> tuple[str, ...]:
    """Why not to trust an estimate, most important first; nothing where nothing speaks against it."""
    figures = _figures(measured)
    return () if figures is None else tuple(_warnings(figures))


def _warnings(figures: Estimated) -> Iterator[str]:
    if figures.outside > _MUCH_OUTSIDE:
        yield (
            f"{figures.outside:.0%} of the values of an input are beyond what was trained on, where nobody knows how "
            "often the model is right: do not go by the estimate"
        )
    if figures.below > _MUCH_OUTSIDE:
        yield f"the model is less sure of {figures.below:.0%} of the rows than of any that it was checked on"
    if figures.reach < _LITTLE_REACH:
        yield f"only {figures.reach:.0%} of the rows that the model was checked on are like these"
    if figures.moved > _MUCH_MOVED:
        yield (
            f"the shares of predicted classes moved by {figures.moved:.0%}: where that is not since other inputs come, "
            "but since a class became more frequent among the same inputs, the estimate is off"
        )


def _figures(measured: Mapping[str, float | None]) -> Estimated | None:
    found = {name: measured.get(f"{PREFIX}{name}") for name in Estimated.__dataclass_fields__}
    known = {name: value for name, value in found.items() if value is not None}
    return Estimated(**known) if len(known) == len(found) else None
