"""What rank 0 does after the last step: the chosen checkpoint becomes the bundle, with metrics and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from forgeline import metrics
from forgeline.bundle import Bundle, Reference
from forgeline.bundle.embedding import Projections, in_one_pass
from forgeline.preprocessing import AnomalyTarget
from forgeline.tracking.spool import SpoolReader
from forgeline_architectures.tasks.base import TaskModule, deployed_weights
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.data.loader import eval_loader
from forgeline_jobs.data.reconstruction import undisturbed
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.validation import Outputs
from forgeline_jobs.train.strategies import shards
from forgeline_jobs.train.strategies.shards import Shards
from forgeline_jobs.train.worker import RESULT

PROMPT_CHARACTERS = 32
SAMPLE_TOKENS = 200

if TYPE_CHECKING:
    from forgeline_jobs.data.base import PreparedData, Split
    from forgeline_jobs.train.callbacks.checkpoints import Checkpoints
    from forgeline_jobs.train.spec import TrainSpec
    from forgeline_jobs.train.worker import Job


def hand_over(
    job: Job, spec: TrainSpec, data: PreparedData, module: TaskModule, checkpoints: Checkpoints, device: torch.device
) -> None:
    """Write the bundle, the pictures and, last, the result that tells the driver all is there.

    Args:
        job: what the worker was told.
        spec: the spec of the run.
        data: what was trained on.
        module: the trained module; it gets the chosen checkpoint's weights.
        checkpoints: know which checkpoint is the best.
        device: where the module was trained, and measures the validation split once more.
    """
    chosen = _chosen(job.paths.checkpoints, spec, checkpoints)
    manifest = checkpoint.Manifest.read(chosen)
    weights = deployed_weights(_state(chosen))
    # A bundle computes in float32 whatever it was trained in (precision bf16-true leaves a bfloat16 module).
    module.to(device).float().eval()
    module.model.load_state_dict(weights)
    if module.adapter is not None:
        module.merge_adapter()
        weights = module.model.state_dict()
    shown, data = data.splits["val"], undisturbed(data)
    outputs, embedding = _outputs(module, data, spec.data.batch_size, device)
    data = _with_threshold(data, outputs)
    Bundle.save(
        job.paths.bundle,
        model_state=weights,
        architecture=spec.architecture.model_dump(mode="json"),
        signature=data.signature.model_dump(mode="json"),
        preprocessing=data.preprocessing,
        metrics=manifest.metrics,
        data={
            "name": spec.data.name,
            "config": spec.data.model_dump(mode="json"),
            "fingerprint": data.fingerprint,
            "summary": data.summary,
        },
        run_id=job.run_id,
        reference=_reference(data, outputs, embedding, spec.data.batch_size),
    )
    _draw(job, data, outputs, shown)
    _write_result(job, manifest, data)


def _draw(job: Job, data: PreparedData, outputs: Outputs, shown: Split) -> None:
    """Pictures of the whole run and of the chosen model on the validation split; for a language model a text.

    `shown` is that split as validation saw it, with the noise that a model learnt to take off.
    """
    from forgeline import plots  # here, since they import matplotlib, which no step needs
    from forgeline_jobs.sample_figures import first_samples, reconstruction_figures, sample_figures

    task, folder = data.signature.task, job.paths.artifacts
    figures = {"learning-curves": plots.learning_curves(_history(job))}
    figures |= plots.figures_for(task, outputs.outputs, outputs.targets, data.preprocessing)
    if task == "reconstruction":
        figures |= reconstruction_figures(Bundle.load(job.paths.bundle), first_samples(shown))
    if task == "generation":
        figures |= sample_figures(Bundle.load(job.paths.bundle), data.splits["val"])
    plots.save(figures, folder)
    if task == "language_modelling":
        [prompt] = data.input_example
        bundle = Bundle.load(job.paths.bundle)
        text = bundle.generate(prompt[:PROMPT_CHARACTERS], max_tokens=SAMPLE_TOKENS, temperature=0.8, seed=0)[0]
        (folder / "sample.txt").write_text(text + "\n", encoding="utf-8")


def _history(job: Job) -> dict[str, list[tuple[int, float]]]:
    """What the step log holds, over all attempts; a step that was done again counts as it was done last."""
    points: dict[str, dict[int, float]] = {}
    for attempt in range(1, job.attempt + 1):
        for line in SpoolReader(job.paths.spool(attempt=attempt, rank=0)).read_new():
            if line["kind"] == "metrics":
                for name, value in line["values"].items():
                    points.setdefault(name, {})[line["step"]] = value
    return {name: sorted(series.items()) for name, series in points.items()}


def _chosen(root: Path, spec: TrainSpec, checkpoints: Checkpoints) -> Path:
    """The folder that `checkpoint.select` means."""
    if spec.checkpoint.select == "best" and checkpoints.best:
        return root / checkpoints.best
    return checkpoint.folders(root)[-1]


def _state(folder: Path) -> Mapping[str, Any]:
    """A checkpoint's content, weights put together where each worker wrote its own."""
    state: dict[str, Any] = torch.load(folder / checkpoint.STATE, map_location="cpu", weights_only=True)
    return state | {"state_dict": Shards(folder).weights()} if shards.are_in(folder) else state


@torch.inference_mode()
def _outputs(
    module: TaskModule, data: PreparedData, batch_size: int, device: torch.device
) -> tuple[Outputs, np.ndarray | None]:
    """The chosen model's outputs over the validation split, for pictures and reference statistics.

    With them projections [n, p] of its embedding, where there is one.
    """
    outputs = Outputs()
    if data.signature.task in metrics.LOSS_ONLY:
        return outputs, None
    with Projections(module.model) as seen:
        for index, batch in enumerate(eval_loader(data.splits["val"], batch_size)):
            outputs.add(module.validation_step({name: tensor.to(device) for name, tensor in batch.items()}, index))
    return outputs, seen.values if in_one_pass(data.signature.task, data.preprocessing.kind) else None


def _with_threshold(data: PreparedData, outputs: Outputs) -> PreparedData:
    """With the threshold above which the chosen model's error on a sample is that of an anomaly; others as they are."""
    target = data.preprocessing.target
    if not isinstance(target, AnomalyTarget) or outputs.outputs is None:
        return data
    fitted = target.fitted(outputs.outputs[:, 0])
    return replace(data, preprocessing=data.preprocessing.model_copy(update={"target": fitted}))


def _reference(data: PreparedData, outputs: Outputs, embedding: np.ndarray | None, batch_size: int) -> Reference:
    """Statistics of the training inputs and of the outputs on the validation split, which training never saw."""
    split = data.splits["train"]
    batches = (
        split.batch(as_int64(range(start, min(start + batch_size, len(split)))))
        for start in range(0, len(split), batch_size)
    )
    return Reference.of(data.preprocessing, batches, outputs.outputs, embedding=embedding, targets=outputs.targets)


def _write_result(job: Job, manifest: checkpoint.Manifest, data: PreparedData) -> None:
    result = {
        "metrics": dict(manifest.metrics),
        "step": manifest.step,
        "fingerprint": data.fingerprint,
        "task": data.signature.task,
        "notes": list(data.notes),
    }
    path = job.paths.attempt(job.attempt) / RESULT
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(path)
