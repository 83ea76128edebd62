"""Evidently's report for people: HTML about a window or a file, beside the alarm and never instead of it.

Evidently compares rows, and a bundle has counts, as has a window. So both sides are written out as rows of the same
bins: each value is the middle of its bin, which is told at the top of the report. Columns are written out one by one;
a row of these is no row of the data, and no figure about several columns together would mean anything. With `--rows`
and the file that was trained on, the rows themselves are compared.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.observation import Counts, Observation
from forgeline.bundle.reference import Distribution, Reference
from forgeline.distributions import CategoricalReference, NumericCounts, NumericReference
from forgeline.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20_000
"""Rows that a side is written out as at most: more make the report's page slow and tell a reader nothing more."""
OTHER = "(other)"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What is compared.

    Attributes:
        reference, current: of the same columns.
        numeric, categorical: which are which.
        notes: sentences that stand at the top of the report.
    """

    reference: pd.DataFrame
    current: pd.DataFrame
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    notes: tuple[str, ...]


def sides_of_counts(reference: Reference, window: Observation) -> Sides:
    """Counts of both sides, written out as rows of bins.

    Raises:
        UsageError: there is nothing to compare.
    """
    import pandas as pd

    columns = list(_columns(reference, window))
    if not columns:
        raise UsageError("the reference and the window have no feature with values in common; nothing can be reported")
    known = [_values(name, held, _counts_of(held)) for name, held, _ in columns]
    seen = [_values(name, held, _window_counts(held, counts)) for name, held, counts in columns]
    numeric = [name for name, held, _ in columns if isinstance(held, NumericReference)]
    frames = [pd.DataFrame({name: pd.Series(values) for name, values in side}) for side in (known, seen)]
    return Sides(
        reference=frames[0],
        current=frames[1],
        numeric=tuple(numeric),
        categorical=tuple(name for name, _, _ in columns if name not in numeric),
        notes=(
            "No rows were kept. Both sides are written out from counts in the bins of the model's reference: a number "
            "stands for its bin, as the middle of it, and missing values are left out.",
            "Columns are independent of each other here: a row of this report is no row of the data.",
            f"Of a column with more than {MOST_ROWS:,} values the shares are shown by {MOST_ROWS:,}.",
            _WARNING,
        ),
    )


def sides_of_rows(
    reference: pd.DataFrame, current: pd.DataFrame, *, numeric: tuple[str, ...], categorical: tuple[str, ...]
) -> Sides:
    """Rows as they are."""
    names = [*numeric, *categorical]
    return Sides(
        reference=reference[names].reset_index(drop=True),
        current=current[names].reset_index(drop=True),
        numeric=numeric,
        categorical=categorical,
        notes=("Both sides are rows as they were given.", _WARNING),
    )


_WARNING = (
    "This is a picture for people. Evidently's own verdicts depend on the number of rows and keep no promised rate of "
    "false alarms; the alarm is that of `forgeline monitor` and `forgeline drift check`."
)


def write_report(sides: Sides, path: Path, *, title: str) -> None:
    """Write Evidently's report on drift as one HTML file that asks for nothing else.

    Raises:
        OSError: it cannot be written.
    """
    _make_room_for_evidently()
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    layout = DataDefinition(numerical_columns=list(sides.numeric), categorical_columns=list(sides.categorical))
    current, reference = (
        Dataset.from_pandas(side, data_definition=layout) for side in (sides.current, sides.reference)
    )
    made = Report([DataDriftPreset()]).run(current, reference)
    page = made.get_html_str(as_iframe=False)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in sides.notes)
    style = "font: 15px/1.5 sans-serif; margin: 1rem 2rem; padding: .5rem 1rem; background: #fff6e0"
    banner = f'<div style="{style}"><h1>{html.escape(title)}</h1>{notes}</div>'
    begin = page.find(">", page.index("<body")) + 1
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(page[:begin] + banner + page[begin:], encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _make_room_for_evidently() -> None:
    """Import what Evidently needs as it expects it."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from pandas.core.dtypes import common

    if not hasattr(common, "infer_dtype_from_object"):
        # Evidently 0.7.23 imports this name, which pandas 3 has no more, for a test of types that is not run here.
        def gone(*_: Any) -> None:
            raise NotImplementedError("pandas has no infer_dtype_from_object any more")

        setattr(common, "infer_dtype_from_object", gone)  # noqa: B010


def _columns(reference: Reference, window: Observation) -> Iterator[tuple[str, Distribution, Counts]]:
    sides: tuple[tuple[str, Mapping[str, Distribution], Mapping[str, Counts]], ...] = (
        ("", reference.inputs, window.inputs),
        (" (output)", reference.outputs, window.outputs),
    )
    for suffix, known, seen in sides:
        for name, held in known.items():
            counts = seen.get(name)
            if counts is not None and _counts_of(held).any() and _window_counts(held, counts).any():
                yield f"{name}{suffix}", held, counts


def _counts_of(held: Distribution) -> NDArray[np.int64]:
    if isinstance(held, CategoricalReference):
        return np.asarray([*held.counts.values(), held.other], dtype=np.int64)
    return np.asarray([0, *held.counts, 0], dtype=np.int64)


def _window_counts(held: Distribution, counts: Counts) -> NDArray[np.int64]:
    if isinstance(counts, NumericCounts):
        return np.concatenate([[counts.below], counts.bins, [counts.above]]).astype(np.int64)
    return np.append(counts.known, counts.other).astype(np.int64)


def _values(name: str, held: Distribution, counts: NDArray[np.int64]) -> tuple[str, NDArray[Any]]:
    shown = _thinned(counts)
    if isinstance(held, CategoricalReference):
        return name, np.repeat(np.asarray([*held.counts, OTHER], dtype=object), shown)
    inner = np.asarray([held.minimum, *held.edges, held.maximum])
    middles = (inner[:-1] + inner[1:]) / 2
    # What lies outside has no bin: it stands a deviation beyond the end of the reference.
    beyond = held.deviation or 1.0
    return name, np.repeat(np.concatenate([[held.minimum - beyond], middles, [held.maximum + beyond]]), shown)


def _thinned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts that add up to at most `MOST_ROWS` with the same shares, the largest remainders rounded up."""
    total = int(counts.sum())
    if total <= MOST_ROWS:
        return counts
    exact = counts * (MOST_ROWS / total)
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    left = MOST_ROWS - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return whole
