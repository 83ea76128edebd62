"""A plain Ray Tune script with the trials of `benchmarks/sweep.py`: a function trainable and Tune's own Optuna search.

    python benchmarks/peers/plain_tune.py --trials 100 [--reuse]

Without `--reuse` each trial has a fresh process, which is what Tune does with a function. With it the trainable is a
class and Tune keeps the actor (`reuse_actors=True`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from typing import Any

import psutil
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch


def value(lr: float) -> float:
    """What a trial is worth."""
    return (lr - 0.01) ** 2


def trial(config: dict[str, Any]) -> None:
    """One trial in a process of its own."""
    tune.report({"loss": value(config["lr"])})


class Trial(tune.Trainable):
    """The same in a process that is kept."""

    def setup(self, config: dict[str, Any]) -> None:
        self.config = config

    def step(self) -> dict[str, Any]:
        return {"loss": value(self.config["lr"]), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


def main() -> None:
    """Run, and print seconds and memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--reuse", action="store_true")
    arguments = parser.parse_args()
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(Trial if arguments.reuse else trial, {"cpu": 1}),
            param_space={"lr": tune.loguniform(1e-4, 1e-1)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=arguments.trials,
                max_concurrent_trials=1,
                search_alg=OptunaSearch(),
                reuse_actors=arguments.reuse,
            ),
            run_config=tune.RunConfig(storage_path=folder, name="peer", verbose=0),
        )
        started = time.perf_counter()
        found = tuner.fit()
        seconds = time.perf_counter() - started
    rss = psutil.Process().memory_info().rss
    print(json.dumps({"trials": len(found), "seconds": seconds, "driver_mib": rss / 2**20}))
    ray.shutdown()


if __name__ == "__main__":
    main()
