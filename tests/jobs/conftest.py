"""A FORGELINE_HOME of its own for each test module, so that runs, models and stores start empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder; FORGELINE_HOME points to it."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGELINE_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture(scope="session")
def wine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small model for the data set `wine`, trained in this process."""
    from forgeline.spec.loading import load
    from forgeline_jobs.train.fitting import Fitting
    from forgeline_jobs.train.worker import Job

    spec = load(
        {
            "kind": "train",
            "name": "wine",
            "architecture": {"name": "mlp", "hidden": [16]},
            "data": {"name": "wine", "batch_size": 16},
            "optimizer": {"lr": 0.01},
            "trainer": {"epochs": 5},
        }
    )
    home = tmp_path_factory.mktemp("trained")
    job = Job(spec=spec.text, run_id="wine", home=str(home), attempt=1, checkpoint=None)
    job.paths.attempt(1).mkdir(parents=True)
    Fitting(job).run()
    return job.paths.bundle
