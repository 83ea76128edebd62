"""A bundle as an MLflow model: the same files, an `MLmodel` beside them, and no pickle anywhere."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forgeline import __version__
from forgeline.bundle.bundle import Bundle
from forgeline.bundle.sampling import asked_by
from forgeline.preprocessing.graph import node_features
from forgeline.preprocessing.tabular import as_frame

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

LOADER = "forgeline.bundle.pyfunc"


def save_mlflow_model(bundle_folder: Path, path: Path, input_example: Any = None) -> None:
    """Write the MLflow model of a bundle.

    Args:
        bundle_folder: a bundle.
        path: folder to make; what is there is replaced.
        input_example: raw rows, images, texts, series or a graph as `Bundle.predict` takes them.
    """
    from mlflow import pyfunc

    bundle = Bundle.load(bundle_folder)
    example = _portable(bundle, input_example)
    shutil.rmtree(path, ignore_errors=True)
    with _quiet():
        pyfunc.save_model(
            str(path),
            loader_module=LOADER,
            data_path=str(bundle.folder),
            signature=signature_of(bundle),
            input_example=example,
            # The columns with their types, or the shape and range of the pixels: the signature has room for neither.
            metadata={"forgeline.schema": dict(bundle.schema)},
            pip_requirements=[f"forgeline=={__version__}"],
        )


def signature_of(bundle: Bundle) -> ModelSignature:
    """Columns or tensors in, columns out.

    MLflow holds data against the signature before the preprocessing sees them, and is stricter: it refuses whole
    numbers for `double`, a missing value for `long`, uint8 pixels for float32, grey images without their last axis. So
    a table's columns have names and no types, and images and series are an array of anything, one entry per sample;
    the preprocessing checks them, and its messages name the value.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema, TensorSpec

    schema = bundle.schema
    if bundle.task == "generation":
        return _signature_of_samples(bundle)
    if schema["kind"] in ("image", "captions", "series"):
        inputs = Schema([TensorSpec(np.dtype(object), (-1,))])
    elif schema["kind"] == "graph":
        tensors = schema["inputs"]
        inputs = Schema([TensorSpec(np.dtype(t["dtype"]), tuple(t["shape"]), t["name"]) for t in tensors])
    elif schema["kind"] in ("text", "pairs"):
        inputs = Schema([ColSpec(DataType.string, "text")])
    else:
        inputs = Schema([ColSpec(AnyType(), column["name"], required=False) for column in schema["inputs"]])
    outputs = Schema([ColSpec(column["type"], column["name"]) for column in schema["outputs"]])
    return ModelSignature(inputs=inputs, outputs=outputs)


def _signature_of_samples(bundle: Bundle) -> ModelSignature:
    """A row for each sample that is wanted, with its conditions, in; samples out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    shape = tuple(bundle.manifest.signature["outputs"])
    pictures = bundle.preprocessing.kind == "image"
    made = (-1, *shape[1:], shape[0]) if pictures else (-1, *shape)
    names = asked_by(bundle.manifest.signature) or ("sample",)
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name, required=False) for name in names]),
        outputs=Schema([TensorSpec(np.dtype(np.uint8 if pictures else np.float64), made)]),
        params=ParamSchema([ParamSpec("seed", DataType.long, 0)]),
    )


def _portable(bundle: Bundle, raw: Any) -> Any:
    """The example in the form of the signature: rows with the model's columns, tensors, or a column of texts."""
    import pandas as pd

    preprocessing = bundle.preprocessing
    if raw is None:
        return None
    if preprocessing.kind == "text" or preprocessing.kind == "pairs":
        return pd.DataFrame({"text": [raw] if isinstance(raw, str) else list(raw)})
    if preprocessing.kind == "table":
        names = [column["name"] for column in bundle.schema["inputs"]]
        return as_frame(raw)[names]
    if preprocessing.kind == "graph":
        types = {"edge_attr": np.float32, "edge_index": np.int64, "pairs": np.int64, "graph": np.int64}
        given = {name: np.asarray(raw[name], dtype=type_) for name, type_ in types.items() if name in raw}
        return {"x": node_features(raw).astype(np.float32), **given}
    # Back from what the network takes: paths become pixels, and a table of a series its windows.
    arrays = preprocessing.encode(raw)
    if preprocessing.kind == "image" or preprocessing.kind == "captions":
        if isinstance(raw, np.ndarray) and raw.ndim == 4:
            return raw.astype(np.float32)
        image = preprocessing.image if preprocessing.kind == "captions" else preprocessing
        pixels = arrays["image"].transpose(0, 2, 3, 1) * image.std + image.mean
        return np.asarray(pixels.clip(0, 1) * image.pixel_max, dtype=np.float32)
    return np.asarray(arrays["series"] * preprocessing.std + preprocessing.mean, dtype=np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's remarks: on integers that could be missing, which the preprocessing handles, and on progress."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
