"""Rows that a model is asked about, counted in the bins of its reference statistics.

Observations of parts of a table add up to the observation of the whole, exactly and in any order, so that each of many
replicas may count for itself. Tables only so far: of other data a sample does not say what of it is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from forgeline.bundle.reference import Distribution, Reference, Values, input_values, output_values
from forgeline.distributions import CategoricalCounts, CategoricalReference, NumericCounts
from forgeline.errors import BundleError, UsageError
from forgeline.preprocessing.tabular import as_frame
from forgeline.preprocessing.target import label_texts

if TYPE_CHECKING:
    import pandas as pd

    from forgeline.bundle.bundle import Bundle
    from forgeline.preprocessing import TablePreprocessing

Counts = NumericCounts | CategoricalCounts


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Counts of rows. `+` merges.

    Attributes:
        rows: how many.
        inputs: by column.
        outputs: of the model, by the names that the reference has them under; empty where it was not asked.
    """

    rows: int
    inputs: Mapping[str, Counts]
    outputs: Mapping[str, Counts] = field(default_factory=dict)

    def __add__(self, other: Observation) -> Observation:
        return Observation(
            rows=self.rows + other.rows,
            inputs=_merged(self.inputs, other.inputs),
            outputs=_merged(self.outputs, other.outputs),
        )


def check_observable(bundle: Bundle) -> Reference:
    """The statistics that rows can be counted by.

    Raises:
        UsageError: the bundle has none, or its model reads no table.
        BundleError: they cannot be read, or lack a column that the model reads.
    """
    if bundle.preprocessing.kind != "table":
        raise UsageError(f"this model reads data of the kind {bundle.preprocessing.kind}; allowed: models of tables")
    reference = bundle.reference
    if reference is None:
        raise UsageError(
            f"the bundle {bundle.folder} has no reference statistics, which rows are compared with; "
            "allowed: bundles with a reference.json, as every training run writes it: train the model again"
        )
    wanted = bundle.preprocessing.names
    if lacking := [name for name in wanted if name not in reference.inputs]:
        raise BundleError(f"the reference statistics of {bundle.folder} have no column {lacking[0]!r}, which it reads")
    return reference


def observe(bundle: Bundle, rows: pd.DataFrame, *, outputs: bool = True) -> Observation:
    """Count the rows of a table, and with `outputs` what the model makes of them.

    Raises:
        UsageError, BundleError: as `check_observable`.
        DataError: the rows are not what the model reads.
    """
    reference, rows = check_observable(bundle), as_frame(rows)
    preprocessing = cast("TablePreprocessing", bundle.preprocessing)
    encoded = preprocessing.encode(rows)
    described = input_values(preprocessing, encoded)
    # Encoded, a missing number is the train median, and a missing category looks like an unknown one.
    missing = preprocessing.missing(rows)
    for number, column in enumerate(preprocessing.numeric):
        described[column.name] = np.where(missing[:, number], np.nan, np.asarray(described[column.name]))
    for category in preprocessing.categorical:
        described[category.name] = Counter(text or "" for text in label_texts(rows[category.name]))
    made: dict[str, Values] = {}
    if outputs and reference.outputs:
        made = output_values(preprocessing, bundle.outputs(encoded))
    return Observation(
        rows=len(rows),
        inputs={name: _count(reference.inputs[name], described[name]) for name in preprocessing.names},
        outputs={name: _count(known, made[name]) for name, known in reference.outputs.items() if name in made},
    )


def _count(reference: Distribution, values: Values) -> Counts:
    if isinstance(reference, CategoricalReference) != isinstance(values, Counter):
        raise BundleError(f"the reference statistics have a {reference.kind} column where the model reads another kind")
    if isinstance(reference, CategoricalReference):
        return reference.count(cast("Counter[str]", values))
    return reference.count(np.asarray(values))


def _merged(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    if one.keys() != other.keys():
        raise ValueError(f"observations of {sorted(one)} and of {sorted(other)} are not of one model")
    return {name: _sum(one[name], other[name]) for name in one}


def _sum(one: Counts, other: Counts) -> Counts:
    if isinstance(one, NumericCounts) and isinstance(other, NumericCounts):
        return one + other
    if isinstance(one, CategoricalCounts) and isinstance(other, CategoricalCounts):
        return one + other
    raise ValueError("counts of numbers and of categories are not of one column")
