"""All columns of a window against a bundle's reference statistics, the most surprising first."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from forgeline.bundle.observation import Observation
from forgeline.bundle.observer import Observer, check_observable, observe_into
from forgeline.bundle.prediction import pieces_of
from forgeline.bundle.tables import TableFile
from forgeline.errors import UsageError
from forgeline_deploy.drift import contingency
from forgeline_deploy.drift.column import ColumnDrift, compare_column
from forgeline_deploy.drift.multiplicity import adjusted

if TYPE_CHECKING:
    from forgeline.bundle import Bundle, Reference

FEWEST_ROWS = 30
"""The tests hold for any number of rows, but of fewer than this only a change that no one needs a test for is found."""
ROWS_AT_ONCE = 4_096
"""Rows of a table that are encoded and counted together: so many stay in a processor's cache."""
# A single column, among many, that differs as much as it can: its p-value from draws must be this far below what the
# ranking needs. The limit bounds the time, at seconds a column; beyond it such a column may be missed.
_DRAWS_TO_SPARE = 10
_MOST_DRAWS = 500_000


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """A column of the input, or an output of the model.

    Attributes:
        feature: its name.
        role: whether it goes into the model or comes out of it.
        kind: numeric or categorical.
        values: rows that have a value.
        found: how far it moved.
        adjusted_p: the smallest false discovery rate at which it would count as drifted.
        drifted: whether it counts as drifted at the rate that was asked for.
    """

    feature: str
    role: Literal["input", "output"]
    kind: Literal["numeric", "categorical"]
    values: int
    found: ColumnDrift
    adjusted_p: float
    drifted: bool

    def row(self) -> dict[str, Any]:
        """As one flat mapping."""
        own = {"feature": self.feature, "role": self.role, "kind": self.kind, "values": self.values}
        return own | asdict(self.found) | {"adjusted_p": self.adjusted_p, "drifted": self.drifted}


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """Every feature, ranked by its p-value, then by how far it moved beyond chance.

    Attributes:
        rows: of the window.
        reference_rows: of the training data behind the statistics of the inputs.
        false_discoveries: the rate of false ones among those that count as drifted.
        features: the most surprising first.
    """

    rows: int
    reference_rows: int
    false_discoveries: float
    features: tuple[FeatureDrift, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that drifted."""
        return tuple(feature.feature for feature in self.features if feature.drifted)


def check_data(bundle: Bundle, data: Any, *, false_discoveries: float = 0.05, outputs: bool = True) -> DriftReport:
    """Compare samples with what a model was trained on, a piece of them at a time.

    Args:
        bundle: of a model of any data that are predicted from files.
        data: a file or a folder (a text too) that `forgeline predict` takes, or data as `Bundle.predict` takes them;
            of a table, columns that the model does not read are ignored.
        false_discoveries: the rate of false ones among the features that count as drifted, between 0 and 1.
        outputs: also predict, and compare what comes out.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a value that the model cannot read.
        UsageError: there are too few samples, or the model's bundle has no reference statistics.
    """
    reference, window = check_observable(bundle), observed(bundle, data, outputs=outputs)
    return compare(reference, window, false_discoveries=false_discoveries)


def observed(bundle: Bundle, data: Any, *, outputs: bool = True) -> Observation:
    """Counts of samples, a piece of them at a time.

    Raises:
        DataError, UsageError: as `check_data`.
    """
    place = Path(data) if isinstance(data, str) else data
    preprocessing = bundle.preprocessing
    if preprocessing.kind == "table" and isinstance(place, Path):
        TableFile(place, texts=preprocessing.texts).require(preprocessing.names)
    observer = Observer.of(bundle, outputs=outputs, embedding=outputs)
    for piece in pieces_of(bundle, place, rows=ROWS_AT_ONCE):
        observe_into(observer, bundle, piece)
    window = observer.observation()
    if window.rows < FEWEST_ROWS:
        name = f"`{place}` has" if isinstance(place, Path) else "the data have"
        raise UsageError(f"{name} {window.rows} rows; allowed: {FEWEST_ROWS} or more, since fewer show nothing")
    return window


def compare(reference: Reference, window: Observation, *, false_discoveries: float = 0.05) -> DriftReport:
    """Compare counts of rows with the reference that they were counted by.

    Raises:
        UsageError: `false_discoveries` is no rate between 0 and 1.
    """
    if not 0 < false_discoveries < 1:
        raise UsageError(f"the rate of false discoveries is {false_discoveries:g}; allowed: between 0 and 1, as 0.05")
    sides = (("input", reference.inputs, window.inputs), ("output", reference.outputs, window.outputs))
    columns = [(role, name, known[name], counts) for role, known, seen in sides for name, counts in seen.items()]
    wanted = math.ceil(_DRAWS_TO_SPARE * len(columns) / false_discoveries)
    draws = min(max(contingency.DRAWS, wanted), _MOST_DRAWS)
    found = [compare_column(known, counts, draws=draws) for _, _, known, counts in columns]
    adjusted_p = adjusted([column.p for column in found]).tolist()
    features = [
        FeatureDrift(
            feature=name,
            role=cast("Literal['input', 'output']", role),
            kind=known.kind,
            values=counts.rows - counts.missing,
            found=column,
            adjusted_p=level,
            drifted=level <= false_discoveries,
        )
        for (role, name, known, counts), column, level in zip(columns, found, adjusted_p, strict=True)
    ]
    return DriftReport(
        rows=window.rows,
        reference_rows=reference.samples,
        false_discoveries=false_discoveries,
        features=tuple(sorted(features, key=_surprise)),
    )


def _surprise(feature: FeatureDrift) -> tuple[float, float]:
    return feature.found.p, feature.found.by_chance - feature.found.distance
