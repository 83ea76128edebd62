"""What a model's outputs are described by: class, confidence and its spread, the numbers predicted, the embedding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.reference_features import Codes, Described, Numbers
from forgeline.preprocessing.target import AnomalyTarget

if TYPE_CHECKING:
    from forgeline.preprocessing import Preprocessing

MOST_PROFILED = 10
"""Of more classes, each one's probability would be one more feature to watch; what they were taken for is counted."""
# Of probabilities, many of which are 1 but for rounding: what batch size, threads and device change is smaller by far.
RESOLUTION = 1e-4


@dataclass(frozen=True, kw_only=True)
class OutputFeatures:
    """Names, and the way from outputs to their values.

    Attributes:
        numeric: names of numbers.
        vocabularies: names of categorical ones, with what they may be.
        resolution: of the numbers' bins; None where they lie as they are.
    """

    numeric: tuple[str, ...] = ()
    vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resolution: float | None = None
    describe: Callable[[NDArray[Any]], tuple[Numbers, Codes | None]] = lambda outputs: (
        np.zeros((len(outputs), 0)),
        None,
    )

    def __call__(self, outputs: NDArray[Any]) -> Described:
        numbers, codes = self.describe(np.asarray(outputs))
        return Described(numbers=numbers, codes=np.zeros((len(numbers), 0), dtype=np.int64) if codes is None else codes)


def output_features(preprocessing: Preprocessing) -> OutputFeatures:
    """Of what comes out of a model: probabilities [n, classes], standardised numbers, or errors.

    | name | what |
    |---|---|
    | prediction | the class, or the number (`prediction[…]` where there are several) |
    | probability | of that class |
    | probability[CLASS] | of each class, of up to 10; of two, of the second, since the first's is 1 less it |
    | entropy | of all classes' probabilities, in nats |
    | score | that tells anomalies |
    """
    classes = preprocessing.classes
    if classes is not None:
        return _classification(classes)
    if preprocessing.target is None:
        return OutputFeatures()
    if isinstance(preprocessing.target, AnomalyTarget):
        return OutputFeatures(numeric=("score",), describe=lambda outputs: (outputs[:, :1].astype(np.float64), None))
    names = tuple(column["name"] for column in preprocessing.target.columns())

    def unscaled(outputs: NDArray[Any]) -> tuple[Numbers, Codes | None]:
        return preprocessing.unscale(outputs).reshape(len(outputs), len(names)), None

    return OutputFeatures(numeric=names, describe=unscaled)


def _classification(classes: Sequence[str]) -> OutputFeatures:
    profiled = [] if len(classes) > MOST_PROFILED else list(range(1 if len(classes) == 2 else 0, len(classes)))

    def describe(outputs: NDArray[Any]) -> tuple[Numbers, Codes | None]:
        wide = outputs.astype(np.float64)
        # From class to class, so that the sum does not depend on how many rows there are.
        terms = -wide * np.log(np.where(wide > 0, wide, 1.0))
        entropy = np.maximum(np.cumsum(terms, axis=1)[:, -1:], 0.0)
        numbers = np.concatenate([wide.max(axis=1, keepdims=True), entropy, wide[:, profiled]], axis=1)
        return numbers, outputs.argmax(axis=1)[:, None] + 1

    return OutputFeatures(
        numeric=("probability", "entropy", *(f"probability[{classes[number]}]" for number in profiled)),
        vocabularies={"prediction": tuple(classes)},
        resolution=RESOLUTION,
        describe=describe,
    )
