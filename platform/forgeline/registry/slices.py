"""Parts of a set of samples by what their columns hold: `plan`, `age>50`, `class`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from forgeline.errors import SpecError
from forgeline.preprocessing.target import label_texts
from forgeline.suggestions import did_you_mean

CLASS = "class"
"""The slice of each true class; a column of this name is hidden behind it."""

MOST_VALUES = 100
"""Values of a column that may each be a slice."""

_COMPARISON = re.compile(r"\s*(?P<column>[^<>=!]+?)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>[^<>=!]+?)\s*")
_MISSING = "missing or unknown"


def _readable(text: str) -> str:
    if not text.strip() or (_COMPARISON.fullmatch(text) is None and re.search("[<>=!]", text)):
        raise ValueError(f"got {text[:80]!r}; allowed: a column, `class`, or COLUMN and <, <=, >, >=, == or != VALUE")
    return text.strip()


Slice = Annotated[str, AfterValidator(_readable)]
"""The type of a spec's key that names a slice."""


def column_of(text: str) -> str:
    """The column that a slice reads.

    >>> column_of("age > 50"), column_of("plan")
    ('age', 'plan')
    """
    match = _COMPARISON.fullmatch(text)
    return match["column"] if match else text


def check_column(text: str, columns: Mapping[str, Any] | list[str], *, has_classes: bool, key: str) -> None:
    """Raises SpecError when there is no such column."""
    name = column_of(text)
    known = [*columns, *([CLASS] if has_classes else [])]
    if name not in known:
        raise SpecError(f"got {text!r}: there is no column {name!r}; {did_you_mean(name, known)}", key=key)


def masks(
    text: str, columns: Mapping[str, NDArray[Any]], classes: NDArray[Any] | None
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The name of each part that a slice means, and which samples [n] are in it.

    A column of numbers with many values is cut at its quartiles.

    Args:
        text: the slice.
        columns: [n] each, by name.
        classes: [n] names of the true classes; None where there are none.

    Raises:
        SpecError: there is no such column, it has too many values, or is compared with what it cannot be.
    """
    check_column(text, columns, has_classes=classes is not None, key="slices")
    name = column_of(text)
    values = classes if name == CLASS and classes is not None else columns[name]
    numbers = _numbers(values)
    match = _COMPARISON.fullmatch(text)
    if match is not None:
        yield text, _compared(values, numbers, match["sign"], match["value"], text)
    elif numbers is not None and name != CLASS and len(np.unique(numbers[~np.isnan(numbers)])) > 10:
        yield from _quartiles(name, numbers)
    else:
        texts = np.asarray([_MISSING if text is None else text for text in label_texts(values)])
        found = np.unique(texts)
        if len(found) > MOST_VALUES:
            raise SpecError(
                f"{name!r} has {len(found)} values, of which at most {MOST_VALUES} can be slices; compare it with one",
                key="slices",
            )
        yield from ((f"{name}={value}", texts == value) for value in found)


def _numbers(values: NDArray[Any]) -> NDArray[np.float64] | None:
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    return None


def _quartiles(name: str, numbers: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    cuts = np.unique(np.nanquantile(numbers, (0.25, 0.5, 0.75)))
    places = np.searchsorted(cuts, numbers, side="left")
    known = ~np.isnan(numbers)
    for place in range(len(cuts) + 1):
        low = "" if place == 0 else f"{cuts[place - 1]:g}<"
        high = "" if place == len(cuts) else f"<={cuts[place]:g}"
        yield f"{low}{name}{high}", known & (places == place)
    if not known.all():
        yield f"{name}={_MISSING}", ~known


def _compared(
    values: NDArray[Any], numbers: NDArray[np.float64] | None, sign: str, wanted: str, text: str
) -> NDArray[np.bool_]:
    if sign in ("==", "!=") and numbers is None:
        same = np.asarray([value == wanted for value in label_texts(values)])
        return same if sign == "==" else ~same
    try:
        bound = float(wanted)
    except ValueError:
        raise SpecError(f"got {text!r}; {wanted!r} is no number", key="slices") from None
    if numbers is None:
        raise SpecError(f"got {text!r}; the column holds no numbers: compare it by == or !=", key="slices")
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal}
    # What is missing is on neither side.
    known = ~np.isnan(numbers)
    held = ~np.equal(numbers, bound) if sign == "!=" else compare[sign](numbers, bound)
    return np.asarray(known & held)
