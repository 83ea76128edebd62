"""A bundle as an MLflow model: the same files, an `MLmodel` beside them, and no pickle anywhere."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forgeline import __version__
from forgeline.bundle.bundle import Bundle

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

LOADER = "forgeline.bundle.pyfunc"


def save_mlflow_model(bundle_folder: Path, path: Path, input_example: Any = None) -> None:
    """Write the MLflow model of a bundle.

    Args:
        bundle_folder: a bundle.
        path: folder to make; what is there is replaced.
        input_example: raw rows, images, texts or series as `Bundle.predict` takes them.
    """
    from mlflow import pyfunc

    bundle = Bundle.load(bundle_folder)
    shutil.rmtree(path, ignore_errors=True)
    with warnings.catch_warnings():
        # MLflow warns of optional columns and of integers that could be missing; the preprocessing handles both.
        warnings.simplefilter("ignore")
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        pyfunc.save_model(
            str(path),
            loader_module=LOADER,
            data_path=str(bundle_folder),
            signature=signature_of(bundle),
            input_example=_portable(bundle, input_example),
            pip_requirements=[f"forgeline=={__version__}"],
        )


def signature_of(bundle: Bundle) -> ModelSignature:
    """Columns or tensors in, columns out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema, TensorSpec

    schema = bundle.schema
    if schema["kind"] in ("image", "series"):
        [tensor] = schema["inputs"]
        inputs = Schema([TensorSpec(np.dtype(tensor["dtype"]), tuple(tensor["shape"]))])
    elif schema["kind"] == "text":
        inputs = Schema([ColSpec(DataType.string, "text")])
    else:
        # A category may be text, a number or a truth value: the preprocessing reads all of them.
        inputs = Schema(
            [
                ColSpec(DataType.double if column["type"] == "double" else AnyType(), column["name"], required=False)
                for column in schema["inputs"]
            ]
        )
    outputs = Schema([ColSpec(column["type"], column["name"]) for column in schema["outputs"]])
    return ModelSignature(inputs=inputs, outputs=outputs)


def _portable(bundle: Bundle, input_example: Any) -> Any:
    """The example in the form of the signature, where it has that form."""
    kind = bundle.schema["kind"]
    if input_example is None:
        return None
    if kind == "text":
        import pandas as pd

        return pd.DataFrame({"text": list(input_example)})
    if kind in ("image", "series"):
        # A series in a table becomes windows only when it is encoded; a tensor is taken as it is.
        return np.asarray(input_example, dtype=np.float32) if isinstance(input_example, np.ndarray) else None
    return input_example
