"""A generator over a split: its bound where it knows one, and its samples before a judge or against known modes.

Samples are as many as the split has, under the split's own conditions, all from one stream of random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from forgeline.bundle.inference import pick_device
from forgeline.bundle.sampling import asked_by, draw
from forgeline.errors import DataError, RunFailed, UsageError
from forgeline_architectures.signature import Signature
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.evaluate.fresh_weights import fresh_generator
from forgeline_jobs.evaluate.sample_pictures import sample_pictures
from forgeline_jobs.evaluate.sample_quality import frechet_distance, inception_style_score, modes_found

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import nn

    from forgeline.bundle import Bundle
    from forgeline_jobs.data.base import PreparedData, Split
    from forgeline_jobs.data.generation import JudgedSplit, Modes
    from forgeline_jobs.evaluate.judge import Reading

SEED = 0


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn.

    Attributes:
        options: of the model's family.
        untrained: whether the model with fresh weights is measured as well.
        batch_size: samples that are drawn together.
        device: `cpu` or `cuda`.
        home: folder below which judges are kept.
        inception: file of Inception's weights to measure pictures by, or None.
    """

    options: Mapping[str, Any]
    untrained: bool
    batch_size: int
    device: str
    home: Path
    inception: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it, without the prefix of the split."""

    values: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def has_bound(bundle: Bundle) -> bool:
    """Whether the model knows how likely samples are."""
    return hasattr(bundle.model, "bound")


def is_judged(data: PreparedData) -> bool:
    """Whether the data are pictures that something is known of, so that a judge can be trained."""
    known = getattr(data.splits["train"], "attribute_cardinalities", ())
    return len(data.signature.outputs) == 3 and bool(known)


def modes_of(split: Split) -> Modes | None:
    """Where the samples lie, for data that know it."""
    return cast("Modes | None", getattr(split, "modes", None))


def check_generator(
    bundle: Bundle, data: PreparedData, options: Mapping[str, Any], *, inception: Path | None = None
) -> None:
    """Refuse what cannot be measured; options are tried on one sample, Inception's weights are read.

    Raises:
        UsageError: an option is unknown or out of range, or the model has no bound and its data no judge.
        DataError: the model makes other samples, or by other conditions, than the data have; or `inception` is for
            pictures, which it does not make, or does not hold the weights.
    """
    if Signature.model_validate(bundle.manifest.signature) != data.signature:
        raise DataError(
            "the model makes other samples, or by other conditions, than the data have; change data.name or model",
            key="data.name",
        )
    if bundle.classes != data.preprocessing.classes:
        raise DataError("the data have other classes than those that the model was told; change data.name", key="data")
    if inception is not None:
        _check_inception(bundle, data, inception)
    split = data.splits["val"]
    if not (inception or has_bound(bundle) or is_judged(data) or modes_of(split)):
        raise UsageError(
            f"{bundle.name} knows no bound on the likelihood, and nothing is known of the samples of its data by which "
            "to judge its own: pictures need classes, or the weights of `inception`; look at samples by `forgeline "
            "sample`"
        )
    if options:
        place = pick_device("cpu")
        draw(
            bundle.model.to(place),
            _conditions(bundle, split.batch(as_int64([0]))),
            count=1,
            seed=SEED,
            device=place,
            batch_size=1,
            options=options,
        )


def _check_inception(bundle: Bundle, data: PreparedData, weights: Path) -> None:
    from forgeline_jobs.evaluate.inception import KEY, read_inception

    if len(data.signature.outputs) != 3:
        raise DataError(f"got {weights}; it is for pictures, {bundle.name} makes points: remove it", key=KEY)
    read_inception(weights)


def measure_generator(bundle: Bundle, data: PreparedData, split_name: str, sampling: Sampling) -> Measured:
    """Metrics of a generator on a split, figures of its samples, and what to know of the metrics.

    Raises:
        RunFailed: the samples are no numbers.
    """
    split = data.splits[split_name]
    values = (
        _bound_of(bundle, _batches(split, sampling.batch_size), device=sampling.device) if has_bound(bundle) else {}
    )
    own = _whole(split)
    made = _samples(bundle, bundle.model, own, len(split), sampling)
    notes = [f"The model's samples were drawn with {_listed(sampling.options)}."] if sampling.options else []
    modes = modes_of(split)
    if modes is not None:
        values |= dict(zip(("modes", "high_quality"), map(float, modes_found(made, modes)), strict=True))
        share = modes_found(own[data.signature.learnt], modes)[1]
        notes.append(
            f"There are {len(modes.centres)} modes; of the split's own points, a share of {share:.4f} lies within 3 "
            "deviations of one."
        )
    if is_judged(data):
        fresh = None
        if sampling.untrained:
            network = fresh_generator(
                bundle,
                _conditions(bundle, own),
                count=len(split),
                seed=SEED,
                batch_size=sampling.batch_size,
                device=sampling.device,
                options=sampling.options,
            )
            fresh = _samples(bundle, network, own, len(split), sampling)
        judged, said = _judged(data, split, own[data.signature.learnt], made, fresh, sampling)
        values |= judged
        notes += said
    if sampling.inception is not None:
        seen, note = _seen_by_inception(bundle, own[data.signature.learnt], made, sampling.inception, sampling.device)
        values |= seen
        notes.append(note)
    attributes = _attributes(split) if data.signature.conditions and is_judged(data) else None
    return Measured(values=values, figures=sample_pictures(bundle, made, own, attributes), notes=notes)


def _judged(
    data: PreparedData,
    split: Split,
    own: NDArray[Any],
    made: NDArray[Any],
    fresh: NDArray[Any] | None,
    sampling: Sampling,
) -> tuple[dict[str, float], list[str]]:
    """What the judge says of samples, of the split's own, and of those of fresh weights."""
    from forgeline_jobs.evaluate.judge import judge_of

    learnt = data.signature.learnt
    judge = judge_of(cast("JudgedSplit", data.splits["train"]), learnt, sampling.home)
    truth, found = (judge.read(pictures, device=sampling.device) for pictures in (own, made))
    attributes = _attributes(split)
    values = {
        "frechet_distance": frechet_distance(found.features, truth.features),
        "judge_score": inception_style_score(found.probabilities),
    }
    if fresh is not None:
        untrained = judge.read(fresh, device=sampling.device)
        values["frechet_distance_untrained"] = frechet_distance(untrained.features, truth.features)
    if data.signature.conditions:
        values["judge_accuracy"] = found.share_read(_asked(split))
    values["judge_own_accuracy"] = truth.share_read(attributes)
    note = (
        "The judge is a small classifier of a fixed recipe, trained on the train split of these data: its distance and "
        "its score compare models of the same data, and are not those of Inception. Of the split's own samples, it "
        f"reads a share of {values['judge_own_accuracy']:.4f} rightly; their own score is "
        f"{inception_style_score(truth.probabilities):.4f}."
    )
    return values, [note, *_notes_on_translations(data, found, split)]


def _seen_by_inception(
    bundle: Bundle, own: NDArray[Any], made: NDArray[Any], weights: Path, device: str
) -> tuple[dict[str, float], str]:
    """Inception's distance and score of samples, and what to know of them."""
    from forgeline_jobs.evaluate.inception import read_inception

    inception = read_inception(weights)
    truth, found = (
        inception.see(cast("NDArray[np.uint8]", bundle.preprocessing.decode_samples(pictures)), device=device)
        for pictures in (own, made)
    )
    values = {
        "inception_frechet_distance": frechet_distance(found.features, truth.features),
        "inception_score": inception_style_score([found.probabilities]),
    }
    kind = "the published ones" if inception.is_published else "not the published ones"
    note = (
        f"Inception's weights are {kind} (SHA-256 {inception.digest[:12]}). {len(made):,} samples were held against "
        f"{len(own):,}; its distance is the larger the fewer there are, so that only figures of as many compare."
    )
    return values, note


def _notes_on_translations(data: PreparedData, found: Reading, split: Split) -> list[str]:
    """What the judge reads in the translations into each domain; nothing for models that translate nothing."""
    if data.signature.source is None:
        return []
    asked = _asked(split)
    right = (found.attributes == asked).all(axis=1)
    names = data.preprocessing.classes or ()
    shares = (f"{right[asked[:, -1] == number].mean():.4f} into {name}" for number, name in enumerate(names))
    return [f"Translations with all that they should keep, in the domain asked for: {', '.join(shares)}."]


def _samples(
    bundle: Bundle, model: nn.Module, own: Mapping[str, NDArray[Any]], count: int, sampling: Sampling
) -> NDArray[Any]:
    place = pick_device(sampling.device)
    made = draw(
        model.to(place),
        _conditions(bundle, own),
        count=count,
        seed=SEED,
        device=place,
        batch_size=sampling.batch_size,
        options=sampling.options,
    )
    if not np.isfinite(made).all():
        raise RunFailed(f"{bundle.name} makes samples that are no finite numbers", reason="user_error")
    return made


def _conditions(bundle: Bundle, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: batch[name] for name in asked_by(bundle.manifest.signature)}


def _attributes(split: Split) -> NDArray[np.int64]:
    return cast("JudgedSplit", split).attributes(as_int64(range(len(split))))


def _asked(split: Split) -> NDArray[np.int64]:
    """The attributes that samples should have: a split of translations says them apart from those of its own."""
    said = getattr(split, "asked", None)
    return _attributes(split) if said is None else cast("NDArray[np.int64]", said(as_int64(range(len(split)))))


def _whole(split: Split) -> dict[str, NDArray[Any]]:
    return split.batch(as_int64(range(len(split))))


def _batches(split: Split, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(split), size):
        yield split.batch(as_int64(range(start, min(start + size, len(split)))))


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _bound_of(bundle: Bundle, batches: Iterator[Mapping[str, NDArray[Any]]], *, device: str) -> dict[str, float]:
    """`negative_elbo` and its two parts, meant over the samples, with one draw of the latent numbers of each.

    Args:
        bundle: of a model with `bound(batch, generator)`, which gives the two parts of each sample.
        batches: the split.
        device: `cpu` or `cuda`.
    """
    import torch

    model: Any = bundle.model.to(device)
    generator = torch.Generator(device=device).manual_seed(SEED)
    reconstruction, kl, count = 0.0, 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            parts = model.bound({name: torch.from_numpy(array).to(device) for name, array in batch.items()}, generator)
            reconstruction += float(parts.reconstruction.double().sum())
            kl += float(parts.kl.double().sum())
            count += len(parts.kl)
    return {
        "negative_elbo": (reconstruction + kl) / count,
        "reconstruction": reconstruction / count,
        "kl": kl / count,
    }
