"""A model behind FastAPI and uvicorn as most people write it: one process, one request after the other, no batches.

python -m benchmarks.peers.plain_fastapi BUNDLE PORT
"""

from __future__ import annotations

import sys
from typing import Any, cast

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Body(BaseModel):
    """Pictures."""

    instances: list[list[list[float]]]


def application(folder: str) -> FastAPI:
    """The module and what is done to the pixels are those of the bundle."""
    import torch

    from forgeline.bundle import Bundle

    torch.set_num_threads(1)
    bundle = Bundle.load(folder)
    model, preprocessing = bundle.model.eval(), cast("Any", bundle.preprocessing)
    app = FastAPI()

    @app.post("/predict")
    async def predict(body: Body) -> dict[str, Any]:
        arrays = preprocessing.encode(np.asarray(body.instances))
        with torch.inference_mode():
            logits = model({name: torch.from_numpy(array) for name, array in arrays.items()})
            best = torch.softmax(logits, dim=1).max(dim=1)
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return {"predictions": [{"prediction": number, "probability": share} for number, share in rows]}

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
