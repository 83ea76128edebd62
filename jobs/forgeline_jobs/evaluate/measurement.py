"""A bundle over a split: its outputs, its metrics and its pictures. Runs in a Ray task, and needs no Lightning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from forgeline import metrics, plots, plugins
from forgeline.bundle import Bundle
from forgeline.errors import DataError, UsageError
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.data.packing import IGNORED
from forgeline_jobs.evaluate import report
from forgeline_jobs.evaluate.generation import Sampling, check_generator, measure_generator
from forgeline_jobs.evaluate.language import language_loss
from forgeline_jobs.evaluate.translation import Translation
from forgeline_jobs.sample_figures import first_samples, reconstruction_figures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forgeline.plugins import DataDescriptor
    from forgeline_jobs.data.base import DataConfig, PreparedData, Split

SAMPLE_CHARACTERS = 32
SAMPLE_TOKENS = 200


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the Ray task is told.

    Attributes:
        bundle: folder of the model.
        data: name and settings of the data, or None for those of the model's training.
        split: `val` or `test`.
        batch_size: samples that go through the model together.
        device: `cpu` or `cuda`.
        folder: where the report and the pictures go.
        home: folder below which the judges of generators are kept; that of the report when None.
        options: of a generator's family.
        untrained: whether a generator with fresh weights is measured as well.
        inception: file of Inception's weights to measure a generator's pictures by, or None.
    """

    bundle: str
    data: Mapping[str, Any] | None
    split: str
    batch_size: int
    device: str
    folder: str
    home: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    untrained: bool = False
    inception: str | None = None


def data_of(
    bundle: Bundle,
    given: DataConfig | None,
    *,
    options: Mapping[str, Any] | None = None,
    inception: str | None = None,
) -> tuple[str, PreparedData]:
    """The data to measure on, and their name.

    Args:
        bundle: the model.
        given: the data, or None for those of the model's training.
        options: of a generator's family.
        inception: file of Inception's weights to measure a generator's pictures by, or None.

    Raises:
        UsageError: the model does not say what it was trained on and no data are given, or is a generator of which
            nothing can be measured.
        DataError: the training data changed since, or the given ones do not fit the model.
    """
    record = bundle.data
    if given is not None:
        name, config = given.name, given
    elif record is not None:
        name = record.name
        config = _config(name, record.config)
    else:
        raise UsageError("the model does not say what it was trained on; give `data`")
    data = cast("PreparedData", _source(name).prepare(config))
    if given is None and record is not None and data.fingerprint != record.fingerprint:
        raise DataError(
            f"the data {name!r} changed since the model was trained: fingerprint {data.fingerprint[:12]}, then "
            f"{record.fingerprint[:12]}; give `data` to measure on them all the same",
            key="data",
        )
    if data.signature.task != bundle.task:
        raise DataError(
            f"the data {name!r} are for {data.signature.task}, the model for {bundle.task}; change data.name or model",
            key="data.name",
        )
    if bundle.task == "generation":
        check_generator(bundle, data, options or {}, inception=None if inception is None else Path(inception))
    Translation(data.preprocessing, bundle.preprocessing)
    return name, data


def measure(task: Task) -> dict[str, Any]:
    """Measure, and write `metrics.json`, `report.md` and the pictures.

    Returns:
        The metrics with the prefix of the split, and what they were measured on.
    """
    bundle = Bundle.load(task.bundle)
    given = None
    if task.data is not None:
        given = _config(task.data["name"], task.data)
    name, data = data_of(bundle, given, inception=task.inception)
    split = data.splits[task.split]
    notes: list[str] = []
    remarks: list[str] = []
    sample = None
    if bundle.task in {"language_modelling", "masked_language_modelling"}:
        loss = language_loss(bundle.model.to(task.device), _batches(split, task.batch_size), device=task.device)
        ratio = data.tokens_per_character.get(task.split)
        values, pictures = metrics.from_loss(bundle.task, loss, tokens_per_character=ratio), []
        sample = _sample(bundle, data, task.device)
    elif bundle.task == "generation":
        sampling = Sampling(
            options=task.options,
            untrained=task.untrained,
            batch_size=task.batch_size,
            device=task.device,
            home=Path(task.home or task.folder),
            inception=None if task.inception is None else Path(task.inception),
        )
        generated = measure_generator(bundle, data, task.split, sampling)
        values, notes = generated.values, generated.notes
        pictures = plots.save(generated.figures, Path(task.folder))
    else:
        translation = Translation(data.preprocessing, bundle.preprocessing)
        outputs, targets = _outputs(bundle, split, translation, task)
        values = metrics.from_outputs(
            bundle.task, outputs, targets, bundle.preprocessing, loss=_loss(bundle, split, outputs, targets, task)
        )
        figures = plots.figures_for(bundle.task, outputs, targets, bundle.preprocessing)
        if bundle.task == "reconstruction":
            figures |= reconstruction_figures(bundle, translation.inputs(first_samples(split)), device=task.device)
        pictures = plots.save(figures, Path(task.folder))
        if bundle.classes is not None:
            remarks = metrics.remarks(targets, bundle.classes)
    result = {
        "metrics": {f"{task.split}/{key}": value for key, value in values.items()},
        "task": bundle.task,
        "model": bundle.name,
        "run_id": bundle.manifest.run_id,
        "digest": bundle.digest,
        "data": name,
        "split": task.split,
        "samples": len(split),
        "fingerprint": data.fingerprint,
        "notes": notes,
        "remarks": remarks,
    }
    report.write(Path(task.folder), result, pictures, sample=sample)
    return result


def _source(name: str) -> DataDescriptor:
    return cast("DataDescriptor", plugins.find(plugins.DATA, name, key="data.name"))


def _config(name: str, settings: Mapping[str, Any]) -> DataConfig:
    return cast("DataConfig", _source(name).config_model().model_validate(settings))


def _batches(split: Split, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(split), size):
        yield split.batch(as_int64(range(start, min(start + size, len(split)))))


def _outputs(bundle: Bundle, split: Split, translation: Translation, task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    outputs, targets = [], []
    for batch in _batches(split, task.batch_size):
        targets.append(translation.targets(batch.pop("target")))
        inputs = translation.inputs(batch)
        outputs.append(bundle.outputs(inputs, batch_size=task.batch_size, device=task.device))
    found, wanted = np.concatenate(outputs), np.concatenate(targets)
    if bundle.task != "token_classification":
        return found, wanted
    asked = wanted != IGNORED  # as in training, a token is a sample
    return found[asked], wanted[asked]


def _loss(bundle: Bundle, split: Split, outputs: NDArray[Any], targets: NDArray[Any], task: Task) -> float | None:
    """What validation calls `loss`: cross-entropy without smoothing, or the squared error.

    None for retrieval, whose metrics have their own.
    """
    if bundle.task == "retrieval":
        return None
    if bundle.task in metrics.CLASSIFYING:
        return metrics.compute(bundle.task, outputs, targets)["log_loss"]
    if bundle.task == "translation":  # what was written does not tell how likely the truth was
        return language_loss(bundle.model.to(task.device), _batches(split, task.batch_size), device=task.device)
    if bundle.task == "reconstruction":
        return float(outputs[:, 0].mean(dtype=np.float64))
    return float(np.mean((outputs.astype(np.float64) - targets) ** 2))


def _sample(bundle: Bundle, data: PreparedData, device: str) -> str | None:
    """A text that the model goes on with; None where it cannot."""
    if not hasattr(bundle.model, "generate"):
        return None
    prompt = str(data.input_example[0])[:SAMPLE_CHARACTERS]
    return bundle.generate(prompt, max_tokens=SAMPLE_TOKENS, device=device)[0]
