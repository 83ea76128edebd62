"""What the training data and the model's outputs looked like: `reference.json`, which monitoring compares against.

Distributions are kept as counts in quantile bins, in the units of the data. What they are of is said beside the code
that takes it: `reference_features` (columns; level, spread and last value of a series; neighbours and set features of a
node; nodes and edges of a graph), `reference_images`, `reference_texts`, and `reference_outputs` for what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from forgeline.bundle.calibration import Calibration
from forgeline.bundle.inference import sample_count
from forgeline.bundle.reference_features import Described, input_features
from forgeline.bundle.reference_outputs import output_features
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.distributions.limits import Count
from forgeline.errors import BundleError

if TYPE_CHECKING:
    from forgeline.preprocessing import Preprocessing

# Ten thousand columns of 64 bins are about 30 MiB; anything past this is no reference.
LARGEST_BYTES = 64 * 2**20
FORMAT: Literal[2] = 2
"""Format 1 has fewer features, and of a text all tokens."""
EMBEDDING, PROBABILITY = "embedding", "probability"

Arrays = Mapping[str, NDArray[Any]]
Distributions = dict[str, NumericReference | CategoricalReference]

_Name = Annotated[str, StringConstraints(max_length=2**16)]
Distribution = Annotated[NumericReference | CategoricalReference, Field(discriminator="kind")]


class Reference(BaseModel):
    """Distributions by name.

    Attributes:
        samples: how many samples the inputs were taken from.
        inputs: per column, or per property of an image, a series, a text or a node.
        outputs: of the model, on the validation split, and as `embedding[i]` of what its last layer reads.
        calibration: of a classifier there; None of others, and where it was trained before there was any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = FORMAT
    samples: Count
    inputs: dict[_Name, Distribution]
    outputs: dict[_Name, Distribution] = Field(default_factory=dict)
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def _calibration_has_the_bins(self) -> Self:
        held = self.outputs.get(PROBABILITY)
        bins = len(held.counts) if isinstance(held, NumericReference) else 0
        if self.calibration is not None and len(self.calibration.rows) != bins:
            raise ValueError(f"calibration has {len(self.calibration.rows)} bins; outputs.{PROBABILITY} has {bins}")
        return self

    @classmethod
    def of(
        cls,
        preprocessing: Preprocessing,
        batches: Iterable[Arrays],
        outputs: NDArray[Any] | None = None,
        *,
        embedding: NDArray[Any] | None = None,
        targets: NDArray[Any] | None = None,
    ) -> Reference:
        """The reference of encoded batches and of a model's outputs.

        Args:
            preprocessing: that encoded them.
            batches: of the training split.
            outputs: probabilities or standardised predictions on the validation split.
            embedding: projections [n, p] of the embedding there, as `forgeline.bundle.embedding.Projections` has them.
            targets: what is true there; of a classifier, numbers of classes [n].
        """
        samples, features = 0, input_features(preprocessing)
        seen: list[Described] = []
        for batch in batches:
            samples += sample_count(batch)
            seen.append(features(batch))
        made = {} if outputs is None else output_references(preprocessing, outputs)
        if embedding is not None:
            made |= {
                f"{EMBEDDING}[{number}]": NumericReference.of(embedding[:, number])
                for number in range(embedding.shape[1])
            }
        return cls(
            samples=samples,
            inputs=_distributions(features.numeric, features.vocabularies, seen),
            outputs=made,
            calibration=_calibration(preprocessing, made.get(PROBABILITY), outputs, targets),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The reference in a file of a bundle, which may come from anywhere.

        Raises:
            BundleError: it cannot be read, is too large, or is not a reference.
        """
        try:
            size = path.stat().st_size
            if size > LARGEST_BYTES:
                raise BundleError(f"{path} has {size:,} bytes; reference statistics have at most {LARGEST_BYTES:,}")
            return cls.model_validate(json.loads(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BundleError(f"{path} holds no reference statistics: {where}: {first['msg']}") from error
        except (ValueError, OSError, RecursionError) as error:
            raise BundleError(f"{path} cannot be read: {error}") from error


def output_references(preprocessing: Preprocessing, outputs: NDArray[Any]) -> Distributions:
    """References of a model's outputs."""
    features = output_features(preprocessing)
    described = [features(np.asarray(outputs))]
    return _distributions(
        features.numeric, features.vocabularies, described, resolution=features.resolution, unseen=True
    )


def _calibration(
    preprocessing: Preprocessing,
    bins: Distribution | None,
    outputs: NDArray[Any] | None,
    targets: NDArray[Any] | None,
) -> Calibration | None:
    """Of classes of samples; tokens are not watched one by one."""
    if outputs is None or targets is None or not isinstance(bins, NumericReference):
        return None
    if getattr(preprocessing, "tagged", False) or np.shape(targets) != (len(outputs),):
        return None
    return Calibration.of(bins, outputs, targets)


def _distributions(
    numeric: Sequence[str],
    vocabularies: Mapping[str, Sequence[str]],
    seen: Sequence[Described],
    *,
    resolution: float | None = None,
    unseen: bool = False,
) -> Distributions:
    """References by name; `unseen` keeps categories that never occurred, such as classes that were not predicted."""
    if not seen:
        return {}
    found: Distributions = {}
    for number, name in enumerate(numeric):
        values = np.concatenate([part.numbers[:, number] for part in seen])
        found[name] = NumericReference.of(values, resolution=resolution)
    for number, (name, vocabulary) in enumerate(vocabularies.items()):
        codes = np.concatenate([part.codes[:, number] for part in seen])
        found[name] = _categories(vocabulary, codes, unseen=unseen)
    return found


def _categories(vocabulary: Sequence[str], codes: NDArray[np.int64], *, unseen: bool) -> CategoricalReference:
    """Of codes [n] as `Described` has them."""
    missing, *counts = np.bincount(codes, minlength=len(vocabulary) + 1).tolist()
    named = [(name, count) for name, count in zip(vocabulary, counts, strict=True) if count or unseen]
    return CategoricalReference.of([name for name, _ in named], [count for _, count in named], missing=missing)
