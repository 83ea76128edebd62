"""What MLflow calls to load a bundle: `mlflow.pyfunc.load_model("models:/digits@champion")` in a plain process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forgeline.bundle.bundle import Bundle
from forgeline.bundle.sampling import asked_by

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


class BundleModel:
    """MLflow's face of a bundle; `predict` is `Bundle.predict`."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame | NDArray[Any]:
        """Predictions, one row per sample; of a generator a sample for each row of conditions."""
        if self.bundle.task == "generation":
            known = asked_by(self.bundle.manifest.signature)
            condition = {name: model_input[name].tolist() for name in known if name in model_input}
            return self.bundle.sample(len(model_input), condition, seed=int((params or {}).get("seed", 0)))
        if self.bundle.schema["kind"] in ("text", "pairs") and hasattr(model_input, "columns"):
            model_input = model_input["text"].tolist()
        if isinstance(model_input, np.ndarray) and model_input.dtype.kind in "OU":
            # Paths, or what the JSON of a request became: numbers without a type.
            items = model_input.tolist()
            model_input = items if model_input.ndim == 1 else np.asarray(items)
        return self.bundle.predict(model_input)


def _load_pyfunc(path: str) -> BundleModel:
    """MLflow's entry point; `path` is the bundle's folder."""
    return BundleModel(Bundle.load(path))
