from __future__ import annotations

import pytest

from forgeline.tracking.tracker import Tracker


@pytest.fixture(scope="session")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    """A real MLflow store; creating one takes about a second, so tests share it and use runs of their own."""
    home = tmp_path_factory.mktemp("tracking")
    return Tracker(f"sqlite:///{home / 'mlflow.db'}", (home / "artifacts").as_uri())


@pytest.fixture
def run_id(tracker: Tracker) -> str:
    return tracker.create_run("tests", "digits")
