"""A bundle over a split: its outputs, the metrics and the pictures. Runs in a Ray task, and needs no Lightning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from forgeline import metrics, plots, plugins
from forgeline.bundle import Bundle
from forgeline.errors import DataError, UsageError
from forgeline_jobs.data.base import as_int64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forgeline.plugins import DataDescriptor
    from forgeline_jobs.data.base import DataConfig, PreparedData, Split


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
    """

    bundle: str
    data: Mapping[str, Any] | None
    split: str
    batch_size: int
    device: str
    folder: str


def data_of(bundle: Bundle, given: DataConfig | None) -> tuple[str, PreparedData]:
    """The data to measure on, and their name.

    Raises:
        UsageError: the model does not say what it was trained on, and no data are given.
        DataError: the training data changed since, or the given ones are of another kind.
    """
    record = bundle.data
    if given is None and record is None:
        raise UsageError("the model does not say what it was trained on; give `data`")
    name = given.name if given is not None else cast(Any, record).name
    source = cast("DataDescriptor", plugins.find(plugins.DATA, name, key="data.name"))
    config = given if given is not None else source.config_model().model_validate(cast(Any, record).config)
    data = cast("PreparedData", source.prepare(config))
    if given is None and record is not None and data.fingerprint != record.fingerprint:
        raise DataError(
            f"the data {name!r} changed since the model was trained: fingerprint {data.fingerprint[:12]}, then "
            f"{record.fingerprint[:12]}; give `data` to measure on them all the same",
            key="data",
        )
    mine, theirs = data.signature.model_dump(mode="json"), dict(bundle.manifest.signature)
    if (mine["task"], mine["outputs"]) != (theirs["task"], theirs["outputs"]):
        raise DataError(
            f"the data {name!r} are for {mine['task']} with outputs {mine['outputs']}, the model for "
            f"{theirs['task']} with outputs {theirs['outputs']}; change data.name or model",
            key="data.name",
        )
    return name, data


def measure(task: Task) -> dict[str, Any]:
    """Measure, and write `metrics.json`, `report.md` and the pictures.

    Returns:
        The metrics with the prefix of the split, and what they were measured on.
    """
    bundle = Bundle.load(task.bundle)
    given = None
    if task.data is not None:
        source = cast("DataDescriptor", plugins.find(plugins.DATA, task.data["name"], key="data.name"))
        given = cast("DataConfig", source.config_model().model_validate(task.data))
    name, data = data_of(bundle, given)
    split = data.splits[task.split]
    if bundle.task == "language_modelling":
        values, figures = _language(bundle, split, task), {}
    else:
        outputs, targets = _outputs(bundle, split, task)
        values = metrics.from_outputs(bundle.task, outputs, targets, bundle.preprocessing)
        figures = plots.figures_for(bundle.task, outputs, targets, bundle.preprocessing)
    measured = {f"{task.split}/{key}": value for key, value in values.items()}
    folder = Path(task.folder)
    pictures = plots.save(figures, folder)
    result = {
        "metrics": measured,
        "model": bundle.name,
        "digest": bundle.digest,
        "data": name,
        "split": task.split,
        "samples": len(split),
        "fingerprint": data.fingerprint,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(_report(result, pictures), encoding="utf-8")
    return result


def _batches(split: Split, size: int) -> Any:
    for start in range(0, len(split), size):
        yield split.batch(as_int64(range(start, min(start + size, len(split)))))


def _outputs(bundle: Bundle, split: Split, task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    outputs, targets = [], []
    for batch in _batches(split, task.batch_size):
        targets.append(batch.pop("target"))
        outputs.append(bundle.outputs(batch, batch_size=task.batch_size, device=task.device))
    return np.concatenate(outputs), np.concatenate(targets)


def _language(bundle: Bundle, split: Split, task: Task) -> dict[str, float]:
    """Mean cross-entropy per token over the whole split, in nats."""
    import torch
    from torch.nn import functional as F

    model = bundle.model.to(task.device)
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in _batches(split, task.batch_size):
            tensors = {key: torch.from_numpy(array).to(task.device) for key, array in batch.items()}
            target = tensors.pop("target")
            logits = model(tensors).float()
            total += float(F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, reduction="sum"))
            count += int((target != -100).sum())
    return metrics.from_loss(bundle.task, total / max(count, 1), bundle.preprocessing)


def _report(result: Mapping[str, Any], pictures: list[Path]) -> str:
    rows = [f"| {name} | {value:.6g} |" for name, value in result["metrics"].items()]
    shown = [f"![{picture.stem}]({picture.name})" for picture in pictures]
    return "\n".join(
        [
            f"# {result['model']} on {result['data']}, {result['split']}",
            "",
            f"{result['samples']} samples; data fingerprint `{result['fingerprint'][:16]}`; "
            f"bundle `{result['digest'][:16]}`.",
            "",
            "| metric | value |",
            "|---|---|",
            *rows,
            "",
            *shown,
            "",
        ]
    )
