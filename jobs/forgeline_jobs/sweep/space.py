"""The space that a sweep searches: keys of the train spec, each with a dimension, and constraints between them.

Values are suggested one after another, in the order of the space; the keys of a choice come right after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from forgeline.spec.source import scalar

if TYPE_CHECKING:
    from optuna.trial import Trial

Values = dict[str, Any]

TAIL = 0.001
"""Share of a normal distribution that is cut off on either side: 3.1 deviations from the mean."""

_KINDS = ("uniform", "log_uniform", "int", "log_int", "normal", "choice")
Number = Annotated[float, Field(allow_inf_nan=False)]


class Dimension(BaseModel):
    """What one key may be: one of the kinds below."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uniform: tuple[Number, Number] | None = Field(default=None, description="A number between two others.")
    log_uniform: tuple[Number, Number] | None = Field(
        default=None, description="A number between two positive ones, each order of magnitude as likely."
    )
    int_: tuple[int, int] | None = Field(
        default=None, alias="int", description="A whole number between two, both included."
    )
    log_int: tuple[int, int] | None = Field(
        default=None, description="A whole number between two positive ones, each order of magnitude as likely."
    )
    normal: tuple[Number, Number] | None = Field(
        default=None, description="A number of a normal distribution: mean and deviation."
    )
    choice: list[Any] | dict[str, dict[str, Dimension]] | None = Field(
        default=None, description="One of a list; or of a mapping, each with the keys that it brings along."
    )

    @model_serializer(mode="wrap")
    def _only_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {kind: value for kind, value in handler(self).items() if value is not None}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in _KINDS if self._of(kind) is not None]
        if len(given) != 1:
            said = f"{' and '.join(given)}" if given else "nothing"
            raise ValueError(f"got {said}; a key has exactly one of {', '.join(_KINDS)}")
        self._check_range(given[0])
        return self

    def _check_range(self, kind: str) -> None:
        value = self._of(kind)
        if kind == "choice":
            if not value:
                raise ValueError("got an empty choice; list at least one value")
            labels = [_label(each) for each in value]
            twice = next((label for label in labels if labels.count(label) > 1), None)
            if twice is not None:
                raise ValueError(f"the choice has {twice!r} twice; remove one")
            return
        low, high = value
        if kind == "normal":
            if high <= 0:
                raise ValueError(f"got [{low:g}, {high:g}]; the second number is the deviation, more than 0")
            return
        if low >= high:
            raise ValueError(f"got [{low:g}, {high:g}]; the lower number comes first, and they differ")
        if kind.startswith("log") and low <= 0:
            raise ValueError(f"got [{low:g}, {high:g}]; both ends of a logarithmic range are more than 0")

    def _of(self, kind: str) -> Any:
        return getattr(self, "int_" if kind == "int" else kind)

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(kind for kind in _KINDS if self._of(kind) is not None)

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value that Optuna draws for a key."""
        kind, given = self.kind, self._of(self.kind)
        if kind == "choice":
            return self.value(trial.suggest_categorical(key, [_label(each) for each in self.options]))
        if kind == "normal":
            return self.value(trial.suggest_float(key, TAIL, 1 - TAIL))
        if kind in ("int", "log_int"):
            return trial.suggest_int(key, *given, log=kind == "log_int")
        return trial.suggest_float(key, *given, log=kind == "log_uniform")

    def value(self, drawn: Any) -> Any:
        """What a draw stands for in the spec."""
        if self.kind == "choice":
            return next(value for value in self.options if _label(value) == drawn)
        if self.normal is not None:
            mean, deviation = self.normal
            return NormalDist(mean, deviation).inv_cdf(drawn)
        return drawn

    def drawn(self, value: Any) -> Any:
        """The draw that stands for a value of the spec.

        Raises:
            ValueError: the dimension has no such value.
        """
        if self.kind == "choice":
            if not any(_label(value) == _label(each) for each in self.options):
                known = ", ".join(json.dumps(each) for each in self.options)
                raise ValueError(f"got {value!r}; allowed: {known}")
            return _label(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"got {value!r}; expected a number")
        low, high = self.ends
        whole = "whole numbers from " if self.kind in ("int", "log_int") else ""
        if not low <= value <= high or (whole and value != int(value)):
            raise ValueError(f"got {value!r}; allowed: {whole}{low:g} to {high:g}")
        return NormalDist(*self.normal).cdf(value) if self.normal is not None else value

    @property
    def options(self) -> list[Any]:
        """The values of a choice."""
        given = self.choice or []
        return [scalar(each) for each in given] if isinstance(given, dict) else list(given)

    @property
    def ends(self) -> tuple[Any, Any]:
        """The lowest and the highest value of a range."""
        if self.normal is not None:
            of = NormalDist(*self.normal)
            return of.inv_cdf(TAIL), of.inv_cdf(1 - TAIL)
        low, high = self._of(self.kind)
        return low, high

    def at(self, share: float) -> Any:
        """The value that lies so far along, from 0 to 1; of a normal distribution, that with such a share below it."""
        if self.kind == "choice":
            return self.options[min(int(share * len(self.options)), len(self.options) - 1)]
        if self.normal is not None:
            return NormalDist(*self.normal).inv_cdf(min(max(share, TAIL), 1 - TAIL))
        low, high = self.ends
        if self.kind.startswith("log"):
            found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            found = low + share * (high - low)
        return self.nearest(found)

    def share(self, value: float) -> float:
        """How far along a number lies, from 0 to 1: the inverse of `at`."""
        if self.normal is not None:
            return NormalDist(*self.normal).cdf(value)
        low, high = map(float, self.ends)
        if self.kind.startswith("log"):
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def nearest(self, number: float) -> Any:
        """The value of a range that is nearest to a number."""
        low, high = self.ends
        inside = min(max(number, low), high)
        return round(inside) if self.kind in ("int", "log_int") else inside

    def brought(self, value: Any) -> Mapping[str, Dimension]:
        """The keys that a choice brings along."""
        if not isinstance(self.choice, dict):
            return {}
        return next(keys for text, keys in self.choice.items() if _label(scalar(text)) == _label(value))

    def extremes(self) -> list[Any]:
        """The values where a spec is likeliest to be refused: every choice, both ends of a range."""
        return self.options if self.kind == "choice" else list(self.ends)

    def grid(self, points: int) -> list[Any]:
        """Values for a grid search.

        Args:
            points: how many of a range that is not whole numbers few enough to take all.
        """
        if self.kind == "choice":
            return self.options
        if self.normal is not None:
            of = NormalDist(*self.normal)
            return [of.inv_cdf((at + 0.5) / points) for at in range(points)]
        low, high = self.ends
        if self.int_ is not None and high - low < points:
            return list(range(low, high + 1))
        shares = [at / (points - 1) for at in range(points)] if points > 1 else [0.5]
        found = [self.at(share) for share in shares]
        if self.kind in ("int", "log_int"):
            return list(dict.fromkeys(found))
        return [low, *found[1:-1], high] if points > 1 else found


Space = dict[str, Dimension]


def suggest(space: Mapping[str, Dimension], trial: Trial) -> Values:
    """Values of a trial, key by key."""
    return _suggested(space, trial, repeated(space), within="")


def _suggested(space: Mapping[str, Dimension], trial: Trial, several: Collection[str], *, within: str) -> Values:
    values: Values = {}
    for key, dimension in space.items():
        values[key] = value = dimension.suggest(trial, _drawn_as(key, several, within))
        values |= _suggested(dimension.brought(value), trial, several, within=f"{within}{key}={value}/")
    return values


def repeated(space: Mapping[str, Dimension]) -> set[str]:
    """Keys that several values of a choice bring along, each with a dimension of its own."""
    keys = [key for key, _ in all_keys(space)]
    return {key for key in keys if keys.count(key) > 1}


def _drawn_as(key: str, several: Collection[str], within: str) -> str:
    """The name that a draw has in Optuna, where one name has one distribution."""
    return f"{key} ({within.rstrip('/')})" if key in several else key


def check_apart(space: Mapping[str, Dimension]) -> set[str]:
    """The keys that a space may give values to.

    Raises:
        ValueError: two of its keys may give a value to the same key at once.
    """
    reached: set[str] = set()
    for key, dimension in space.items():
        own = {key}
        if isinstance(dimension.choice, dict):
            for brought in dimension.choice.values():
                within = check_apart(brought)
                if key in within:
                    raise ValueError(f"{key} is brought along by a value of its own; remove it there")
                own |= within
        twice = sorted(own & reached)
        if twice:
            raise ValueError(f"{twice[0]} is in the space, or brought along by a choice, and by {key} as well; a trial "
                             "would have two values of it: leave one of them out")  # fmt: skip
        reached |= own
    return reached


def all_keys(space: Mapping[str, Dimension]) -> Iterator[tuple[str, Dimension]]:
    """Every key with its dimension, those that a choice brings included; a key that two choices bring comes twice."""
    for key, dimension in space.items():
        yield key, dimension
        if isinstance(dimension.choice, dict):
            for brought in dimension.choice.values():
                yield from all_keys(brought)


def draws(space: Mapping[str, Dimension], values: Mapping[str, Any]) -> Values:
    """What Optuna would have drawn for values, of the keys that are given.

    Raises:
        ValueError: a key is unknown here, or has no such value; the message begins with it.
    """
    found: Values = {}
    several = repeated(space)
    reachable: dict[str, tuple[Dimension, str]] = {key: (dimension, "") for key, dimension in space.items()}
    left = dict(values)
    while key := next((key for key in reachable if key in left), None):
        (dimension, within), value = reachable[key], left.pop(key)
        try:
            found[_drawn_as(key, several, within)] = dimension.drawn(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
        below = f"{within}{key}={value}/"
        reachable |= {other: (brought, below) for other, brought in dimension.brought(value).items()}
    if left:
        key = next(iter(left))
        raise ValueError(f"{key}: it is not in the space, or the choice that brings it is another; keys: "
                         f"{', '.join(reachable)}")  # fmt: skip
    return found


def product(space: Mapping[str, Dimension], points: int) -> Iterator[Values]:
    """Every combination of a grid, the last key changing fastest."""
    if not space:
        yield {}
        return
    (key, dimension), *rest = space.items()
    for value in dimension.grid(points):
        for brought in product(dimension.brought(value), points):
            for others in product(dict(rest), points):
                yield {key: value, **brought, **others}


def corners(space: Mapping[str, Dimension]) -> Iterator[Values]:
    """Values at which a spec is to be checked: of each key every extreme, the other keys at their first."""
    yield _first(space)
    for key, dimension in space.items():
        others = _first({other: each for other, each in space.items() if other != key})
        for value in dimension.extremes():
            for brought in corners(dimension.brought(value)):
                yield {**others, key: value, **brought}


def _first(space: Mapping[str, Dimension]) -> Values:
    values: Values = {}
    for key, dimension in space.items():
        values[key] = value = dimension.extremes()[0]
        values |= _first(dimension.brought(value))
    return values


def _label(value: Any) -> Any:
    """A value as a category: Optuna takes plain ones."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)
