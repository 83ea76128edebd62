"""What is known of a rollout so far: counts, by step and by who counted.

A counter only grows. Whoever counts (a router, the reader of labels) has a name, and a new one after it began anew; so
the newer of two reports of one source is the larger in every count, and to join them takes the larger: reports that
come twice, late or out of order change nothing. Counts of different sources are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

Levels = Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """What one source has counted in one step.

    Attributes:
        champion_requests: requests that the champion answered or failed at.
        requests, errors: the same of the challenger, in shadow as well, and how many failed or found no room.
        slow: of each limit on latency, by its name, the challenger's answers that were slower.
        shadowed, disagreements: requests that both answered, and those of them that they answered otherwise.
        pairs: of labelled requests that both answered: how often each level of the difference of losses came.
        champion_losses, challenger_losses: levels of the losses of labelled answers that callers got. In shadow the
            champion's are counted beside the pairs, and tell where losses are to be taken from later.
    """

    champion_requests: int = 0
    requests: int = 0
    errors: int = 0
    slow: Mapping[str, int] = field(default_factory=dict)
    shadowed: int = 0
    disagreements: int = 0
    pairs: Levels = field(default_factory=dict)
    champion_losses: Levels = field(default_factory=dict)
    challenger_losses: Levels = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What came 0 times is not told from what did not come.
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, int):
                object.__setattr__(self, each.name, {key: count for key, count in value.items() if count})

    def __add__(self, other: Self) -> Self:
        """Of requests that are apart."""
        return self._with(other, lambda one, two: one + two)

    def __or__(self, other: Self) -> Self:
        """Of one source, at two times: the newer one."""
        return self._with(other, max)

    def _with(self, other: Self, combine: Any) -> Self:
        merged: dict[str, Any] = {}
        for each in fields(self):
            one, two = getattr(self, each.name), getattr(other, each.name)
            if isinstance(one, int):
                merged[each.name] = combine(one, two)
            else:
                merged[each.name] = {key: combine(one.get(key, 0), two.get(key, 0)) for key in {*one, *two}}
        return type(self)(**merged)

    def to_json(self) -> dict[str, Any]:
        """As a journal keeps it: what is 0 is left out."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value if isinstance(value, int) else {str(key): count for key, count in sorted(value.items())}
            for name, value in found.items()
            if value
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_json` made."""
        found: dict[str, Any] = {
            name: value if isinstance(value, int) else {_level(name, key): count for key, count in value.items()}
            for name, value in kept.items()
        }
        return cls(**found)


@dataclass(frozen=True)
class Evidence:
    """All that was counted.

    Attributes:
        cells: by number of the step that a request was answered in, and name of the source.
    """

    cells: Mapping[tuple[int, str], StepCounts] = field(default_factory=dict)

    def __or__(self, other: Evidence) -> Evidence:
        """With newer reports; in any order, any number of times."""
        joined = dict(self.cells)
        for key, counts in other.cells.items():
            joined[key] = joined[key] | counts if key in joined else counts
        return Evidence(dict(sorted(joined.items())))

    def news(self, known: Evidence) -> Evidence:
        """The cells that say more than what is known."""
        joined = known | self
        changed = {key for key in joined.cells if joined.cells[key] != known.cells.get(key)}
        return Evidence({key: counts for key, counts in joined.cells.items() if key in changed})

    def of_step(self, step: int) -> StepCounts:
        """The counts of a step, of all sources."""
        return sum((counts for (number, _), counts in self.cells.items() if number == step), StepCounts())

    def total(self) -> StepCounts:
        """The counts of all steps together."""
        return sum(self.cells.values(), StepCounts())

    def to_json(self) -> list[dict[str, Any]]:
        """As a journal keeps it."""
        return [{"step": step, "source": source, **counts.to_json()} for (step, source), counts in self.cells.items()]

    @classmethod
    def from_json(cls, kept: list[dict[str, Any]]) -> Evidence:
        """What `to_json` made."""
        cells = {}
        for row in kept:
            counts = {name: value for name, value in row.items() if name not in ("step", "source")}
            cells[row["step"], row["source"]] = StepCounts.from_json(counts)
        return cls(cells)


def _level(name: str, key: str) -> int | str:
    return key if name == "slow" else int(key)
