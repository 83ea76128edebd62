"""What a spec means to its workers: the data that it names, read, split and fitted, and what the module is told.

For the check before Ray starts, and in each worker again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from forgeline import plugins
from forgeline.errors import DataError

if TYPE_CHECKING:
    from forgeline_jobs.data.base import DataConfig, PreparedData
    from forgeline_jobs.data.descriptor import DataSource
    from forgeline_jobs.train.spec import TrainSpec


def prepare(config: DataConfig, *, verify: bool = True) -> PreparedData:
    """Prepare the data of a spec's `data` block.

    Args:
        config: the block.
        verify: go through every sample; False where the check before the run has done it.

    Raises:
        DataError: the data are not what the spec promises.
    """
    source = cast("DataSource", plugins.find(plugins.DATA, config.name, key="data.name"))
    data = source.prepare(config, verify=verify)
    # Which a config of somebody else's may not have.
    return data if getattr(config, "train_on", "train") == "train" else _with_val_in_train(config, data)


def _with_val_in_train(config: DataConfig, data: PreparedData) -> PreparedData:
    """What was fitted stays fitted on the train split alone.

    Raises:
        DataError: the splits cannot be joined.
    """
    from forgeline_jobs.data.arrays import ArraySplit

    train, val = data.splits["train"], data.splits["val"]
    if not (isinstance(train, ArraySplit) and isinstance(val, ArraySplit)):
        raise DataError(
            f"got train+val; the splits of {config.name} cannot be joined (tables, classified series and texts, and "
            "images that are held in memory can): set it to train",
            key="data.train_on",
        )
    try:
        both = train.joined(val)
    except ValueError as error:
        raise DataError(f"got train+val, and {error}; set it to train", key="data.train_on") from error
    samples = {**data.summary["samples"], "train": len(both)}
    return replace(data, splits={**data.splits, "train": both}, summary={**data.summary, "samples": samples})


def described(data: PreparedData) -> dict[str, Any]:
    """What was found in the data, the task first, and columns by their kind."""
    found = {"task": data.signature.task, **data.summary}
    columns = found.get("columns")
    if isinstance(columns, dict):
        found["columns"] = {kind: [name for name in columns if columns[name] == kind] for kind in columns.values()}
    return found


def module_options(spec: TrainSpec, data: PreparedData, *, total_steps: int) -> dict[str, Any]:
    """What the Lightning module is told besides model and data, as `TrainingOptions` has it."""
    return {
        "optimizer": spec.optimizer.model_dump(mode="json"),
        "label_smoothing": spec.trainer.label_smoothing,
        "class_weights": data.class_weights,
        "total_steps": total_steps,
        "ema": spec.trainer.ema,
        "gradient_clip": spec.trainer.gradient_clip,
        "freeze": spec.fine_tune.freeze,
        "learning_rates": spec.fine_tune.learning_rates,
    }


def numbering_warning(spec: TrainSpec, data: PreparedData) -> str | None:
    """What to say where a model of texts starts from weights that may have numbered its tokens in another way."""
    place = getattr(spec.architecture, "pretrained", None)
    tokenizer = getattr(data.preprocessing, "tokenizer", None)
    if not isinstance(place, str) or data.preprocessing.kind not in ("text", "pairs"):
        return None
    if tokenizer is not None and tokenizer.kind in ("byte", "file"):  # which are the same for all data
        return None
    own = "data.tokenizer: file" if data.signature.task == "language_modelling" else "weights of the same words"
    return (
        f"tokens are numbered by what was fitted on these data; unless {place} was trained with the same numbers, its "
        f"embeddings mean other tokens: {own} would keep them"
    )
