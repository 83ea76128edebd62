"""Counts what a model is asked: batches as they are encoded anyway, all features of a batch at once.

What a reference lacks is not counted, since there is nothing to hold it against: features that an earlier format did
not have, or outputs of a model that has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import sample_count
from forgeline.bundle.observation import Counts, Observation
from forgeline.bundle.reference import EMBEDDING, Distribution, Reference
from forgeline.bundle.reference_features import Described, input_features
from forgeline.bundle.reference_images import MOST_PIXELS
from forgeline.bundle.reference_outputs import output_features
from forgeline.distributions import CategoricalBlock, CategoricalReference, NumericBlock, NumericReference
from forgeline.errors import BundleError, UsageError

if TYPE_CHECKING:
    from forgeline.bundle.bundle import Bundle
    from forgeline.preprocessing import Preprocessing
    from forgeline.preprocessing.tabular import Gaps


class Observer:
    """Counts of batches, added to in place. Not for several threads at once: give each its own, and add them up.

    Args:
        preprocessing: that encodes the batches.
        reference: in whose bins they are counted.
        outputs: whether the model's outputs are given with every batch.
        embedding: whether projections of its embedding are, too.

    Raises:
        BundleError: the reference lacks a column that the model reads, or has it as another kind.
    """

    def __init__(
        self, preprocessing: Preprocessing, reference: Reference, *, outputs: bool = True, embedding: bool = False
    ) -> None:
        self._features = input_features(preprocessing)
        self._made = output_features(preprocessing)
        known = _comparable(preprocessing, reference)
        self._inputs = _Side(self._features.numeric, self._features.vocabularies, known)
        # Of the classes of tokens there is one output per token, and tokens of a text are no samples of their own.
        answered = reference.outputs if outputs and not getattr(preprocessing, "tagged", False) else {}
        self._outputs = _Side(self._made.numeric, self._made.vocabularies, answered)
        places = [name for name in answered if name.startswith(f"{EMBEDDING}[")] if embedding else []
        self._embedding = _Side(places, {}, answered)
        self._rows = 0

    @classmethod
    def of(cls, bundle: Bundle, *, outputs: bool = True, embedding: bool = False) -> Self:
        """Of a bundle.

        Raises:
            UsageError: it has no reference statistics.
            BundleError: they cannot be read, or lack a column that the model reads.
        """
        return cls(bundle.preprocessing, check_observable(bundle), outputs=outputs, embedding=embedding)

    @property
    def wants_outputs(self) -> bool:
        """Whether there are outputs to count."""
        return bool(self._outputs)

    @property
    def wants_embedding(self) -> bool:
        """Whether there are projections of embeddings to count."""
        return bool(self._embedding)

    def count(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        gaps: Gaps | None = None,
        outputs: NDArray[Any] | None = None,
        embedding: NDArray[Any] | None = None,
    ) -> None:
        """Count the samples of a batch.

        Args:
            arrays: as the preprocessing encoded them.
            gaps: of a table, where its rows have no value (`TablePreprocessing.encode_with_gaps`); without, what is
                missing is counted as the value that stands for it.
            outputs: of the model for these samples, as `Bundle.outputs` gives them.
            embedding: projections, as `forgeline.bundle.embedding.Projections` has them.

        Raises:
            ValueError: outputs or an embedding are wanted and not there.
        """
        if (self._outputs and outputs is None) or (self._embedding and embedding is None):
            raise ValueError("this observer counts outputs (and embeddings, where it says so) with every batch")
        self._rows += sample_count(arrays)
        self._inputs.add(self._features(arrays, gaps))
        if self._outputs and outputs is not None:
            self._outputs.add(self._made(outputs))
        if self._embedding and embedding is not None:
            none = np.zeros((len(embedding), 0), dtype=np.int64)
            self._embedding.add(Described(numbers=np.asarray(embedding, dtype=np.float64), codes=none))

    def observation(self) -> Observation:
        """What was counted since the last `take`."""
        return Observation(
            rows=self._rows,
            inputs=self._inputs.counts(),
            outputs=self._outputs.counts() | self._embedding.counts(),
        )

    def take(self) -> Observation:
        """What was counted since the last `take`, which is then forgotten."""
        taken = self.observation()
        self._rows = 0
        for side in (self._inputs, self._outputs, self._embedding):
            side.clear()
        return taken


class _Side:
    """The features of inputs or of outputs that a reference has; falsy where it has none."""

    def __init__(
        self, numeric: Sequence[str], vocabularies: Mapping[str, Sequence[str]], known: Mapping[str, Distribution]
    ) -> None:
        self._numeric = [name for name in numeric if name in known]
        self._categorical = [name for name in vocabularies if name in known]
        numbers, categories = ([known[name] for name in names] for names in (self._numeric, self._categorical))
        for name, held in zip((*self._numeric, *self._categorical), (*numbers, *categories), strict=True):
            if isinstance(held, CategoricalReference) != (name in vocabularies):
                raise BundleError(
                    f"the reference statistics have {name!r} as {held.kind}; the model reads another kind"
                )
        self._of_numbers = _places(numeric, self._numeric)
        self._of_codes = _places(list(vocabularies), self._categorical)
        self._numbers = NumericBlock(cast("list[NumericReference]", numbers))
        chosen = [vocabularies[name] for name in self._categorical]
        self._codes = CategoricalBlock(cast("list[CategoricalReference]", categories), chosen)

    def __bool__(self) -> bool:
        return bool(self._numeric or self._categorical)

    def add(self, described: Described) -> None:
        numbers, codes = described.numbers, described.codes
        if self._numeric:
            self._numbers.add(numbers if self._of_numbers is None else numbers[:, self._of_numbers])
        if self._categorical:
            self._codes.add(codes if self._of_codes is None else codes[:, self._of_codes])

    def counts(self) -> dict[str, Counts]:
        counted: dict[str, Counts] = dict(zip(self._numeric, self._numbers.counts(), strict=True))
        return counted | dict(zip(self._categorical, self._codes.counts(), strict=True))

    def clear(self) -> None:
        self._numbers.clear()
        self._codes.clear()


def _places(names: Sequence[str], chosen: Sequence[str]) -> NDArray[np.int64] | None:
    """Where the chosen ones are; None where they are all."""
    if len(names) == len(chosen):
        return None
    return np.asarray([number for number, name in enumerate(names) if name in chosen], dtype=np.int64)


def _comparable(preprocessing: Preprocessing, reference: Reference) -> Mapping[str, Distribution]:
    """The reference's inputs, without those that an earlier format took in another way."""
    if preprocessing.kind == "table":
        lacking = [name for name in preprocessing.names if name not in reference.inputs]
        if lacking:
            raise BundleError(f"the reference statistics have no column {lacking[0]!r}, which the model reads")
    if reference.format > 1:
        return reference.inputs
    others = {"text": {"token"}, "pairs": {"token"}}.get(preprocessing.kind, set())
    image = preprocessing.image if preprocessing.kind == "captions" else preprocessing
    if image.kind == "image" and max(image.height, image.width) > MOST_PIXELS:
        others = {"intensity", "contrast"}
    return {name: held for name, held in reference.inputs.items() if name not in others}


def check_observable(bundle: Bundle) -> Reference:
    """The statistics that samples can be counted by.

    Raises:
        UsageError: the bundle has none.
        BundleError: they cannot be read.
    """
    reference = bundle.reference
    if reference is None:
        raise UsageError(
            f"the bundle {bundle.folder} has no reference statistics, which data are compared with; "
            "allowed: bundles with a reference.json, as every training run writes it: train the model again"
        )
    return reference


def observe(bundle: Bundle, raw: Any, *, outputs: bool = True) -> Observation:
    """Count samples that fit into memory at once, and with `outputs` what the model makes of them.

    Args:
        bundle: of the model.
        raw: as the preprocessing takes them; of tables also mappings.
        outputs: also predict.

    Raises:
        UsageError, BundleError: as `Observer.of`.
        DataError: the data are not what the model reads.
    """
    observer = Observer.of(bundle, outputs=outputs, embedding=outputs)
    observe_into(observer, bundle, raw)
    return observer.observation()


def observe_into(observer: Observer, bundle: Bundle, raw: Any) -> None:
    """Add samples to what an observer of the bundle has counted.

    Raises:
        DataError: the data are not what the model reads.
    """
    gaps: Gaps | None = None
    if bundle.preprocessing.kind == "table":
        arrays, gaps = bundle.preprocessing.encode_with_gaps(raw)
    else:
        arrays = bundle.preprocessing.encode(raw)
    if not observer.wants_embedding:
        made = bundle.outputs(arrays) if observer.wants_outputs else None
        observer.count(arrays, gaps=gaps, outputs=made)
        return
    from forgeline.bundle.embedding import Projections

    with Projections(bundle.model) as seen:
        made = bundle.outputs(arrays)
    observer.count(arrays, gaps=gaps, outputs=made, embedding=seen.values)
