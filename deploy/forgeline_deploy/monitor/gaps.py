"""Where the rows of a table that was encoded had no value: looked up in the rows only where the encoding leaves doubt.

A missing number is encoded as the number that stands for it, and a missing category like one that training never had.
To read all rows a second time would cost more than to count them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from forgeline.preprocessing import TablePreprocessing

Arrays = Mapping[str, NDArray[Any]]
_TEXTS = ("", "nan")


def gaps_of(
    preprocessing: TablePreprocessing, encoded: Arrays, rows: Sequence[Mapping[str, Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """bool [n, numeric columns] and bool [n, categorical columns].

    Args:
        preprocessing: that encoded the rows.
        encoded: of the rows [n].
        rows: as they came [n].
    """
    numbers = np.zeros((len(rows), len(preprocessing.numeric)), dtype=np.bool_)
    if preprocessing.numeric:
        values = np.asarray(encoded["numeric"])
        flagged = len(preprocessing.numeric)
        for place, column in enumerate(preprocessing.numeric):
            if column.flag_missing:
                numbers[:, place] = values[:, flagged] > 0.5
                flagged += 1
            else:
                stands_for_none = np.float32(np.clip((column.fill - column.mean) / column.std, -1e6, 1e6))
                doubtful = np.isclose(values[:, place], stands_for_none, rtol=1e-5, atol=1e-6)
                for row in np.flatnonzero(doubtful).tolist():
                    numbers[row, place] = is_missing(rows[row].get(column.name))
    categories = np.zeros((len(rows), len(preprocessing.categorical)), dtype=np.bool_)
    for place, category in enumerate(preprocessing.categorical):
        for row in np.flatnonzero(np.asarray(encoded["categorical"])[:, place] == 0).tolist():
            categories[row, place] = is_missing(rows[row].get(category.name))
    return numbers, categories


def is_missing(value: Any) -> bool:
    """Whether a value of a row is none.

    >>> is_missing(None), is_missing(float("nan")), is_missing(" "), is_missing(0)
    (True, True, True, False)
    """
    if value is None or value != value:
        return True
    return isinstance(value, str) and value.strip().lower() in _TEXTS
