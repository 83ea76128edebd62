"""A trial of a sweep that has no more to do than to say what its point is worth; see `benchmarks/sweep.py`."""

from __future__ import annotations

import json
from typing import Any, cast

from ray import tune

from forgeline.spec.loading import load
from forgeline_jobs.train.spec import TrainSpec


class FunctionTrial(tune.Trainable):
    """An actor, kept between trials as `TrialRun` is."""

    def setup(self, config: dict[str, Any]) -> None:
        self._order = config["order"]

    def step(self) -> dict[str, Any]:
        rate = cast(TrainSpec, load(self._order["spec"]).spec).optimizer.lr
        told = {
            "trial": self._order["trial"],
            "done": True,
            "state": "succeeded",
            "reason": None,
            "message": "",
            "metrics": {"val/loss": (rate - 0.01) ** 2},
        }
        return {"told": json.dumps(told), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing, as a trial of a sweep."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""
