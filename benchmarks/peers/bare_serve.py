"""A model on a bare Ray Serve: one replica that batches with `@serve.batch`, behind Serve's own HTTP proxy.

    python -m benchmarks.peers.bare_serve BUNDLE PORT MAX_BATCH WAIT_S

The module and what is done to the pixels are those of the bundle; all else is as Serve's guide on batching has it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any

# As Forgeline sets it. Ray's own workers have the lowest priority but five, which a busy machine makes them pay for.
os.environ.setdefault("RAY_worker_niceness", "0")

import numpy as np
import ray
from ray import serve
from starlette.requests import Request


def application(bundle: str, *, max_batch: int, wait_s: float) -> Any:
    """One replica on one core."""

    @serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
    class Digits:
        def __init__(self, folder: str) -> None:
            import torch

            from forgeline.bundle import Bundle

            loaded = Bundle.load(folder)
            self._torch, self._model = torch, loaded.model.eval()
            self._preprocessing: Any = loaded.preprocessing

        @serve.batch(max_batch_size=max_batch, batch_wait_timeout_s=wait_s)
        async def predict(self, images: list[Any]) -> list[dict[str, Any]]:
            arrays = self._preprocessing.encode(np.asarray(images))
            with self._torch.inference_mode():
                logits = self._model({name: self._torch.from_numpy(array) for name, array in arrays.items()})
                probabilities = self._torch.softmax(logits, dim=1)
            best = probabilities.max(dim=1)
            return [
                {"prediction": int(number), "probability": float(probability)}
                for number, probability in zip(best.indices, best.values, strict=True)
            ]

        async def __call__(self, request: Request) -> dict[str, Any]:
            [image] = (await request.json())["instances"]
            return {"predictions": [await self.predict(image)]}

    return Digits.bind(bundle)  # type: ignore[attr-defined]


def main() -> None:
    """Serve until killed."""
    bundle, port, max_batch, wait_s = sys.argv[1:]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(port)},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    serve.run(application(bundle, max_batch=int(max_batch), wait_s=float(wait_s)), route_prefix="/predict")
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
