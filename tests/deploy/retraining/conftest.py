"""A ledger with a deployment's run, and a launcher that writes the runs which the command would begin."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord
from forgeline.preprocessing.recent import write_rows
from forgeline.spec.loading import load
from forgeline_deploy.retraining.retraining import Retraining
from forgeline_deploy.retraining.spec import RetrainConfig
from tests.databases import ledger_url

DAY_S = 86_400.0
TRAINING: dict[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [8]},
    "data": {"name": "wine"},
    "trainer": {"epochs": 1},
    "register": {"model": "wine", "gate": {"metric": "val/accuracy", "at_least": 0.0, "beats": "champion"}},
}


class Samples:
    """Labelled rows; counts how often they were collected."""

    def __init__(self) -> None:
        self.collected = 0

    def write(self, folder: Path, *, since: float, most: int) -> Path:
        self.collected += 1
        write_rows(folder / "recent.parquet", pd.DataFrame({"x": [1.0], "grower": ["a"]}), ["request"])
        return folder / "recent.parquet"


class LedgerLauncher:
    """Begins runs in the ledger only; `point` is called wherever a real one may be killed."""

    def __init__(self, ledger: Ledger, point: Callable[[str], None] = lambda name: None) -> None:
        self._ledger = ledger
        self._point = point
        self._ids = itertools.count()

    def begun(self, once: str) -> RunRecord | None:
        return self._ledger.begun_once(once)

    def get(self, run_id: str) -> RunRecord:
        return self._ledger.get(run_id)

    def launch(self, spec: Path, once: str) -> str:
        self._point("before the launch")
        loaded = load(spec).spec
        number = len(self._ledger.list_runs(kind="train", limit=None))
        run = self._ledger.create_run(
            id=f"train{number}-{next(self._ids)}", name="wine", kind="train", spec="", labels=loaded.labels
        )
        self._point("after the launch")
        return run.id


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a ledger with the run, to be copied."""
    url = ledger_url(tmp_path_factory.mktemp("empty"))
    opened = Ledger(url)
    opened.create_run(id="run1", name="wine-live", kind="deployment", spec="")
    opened.close()
    return url


@pytest.fixture
def url(empty_ledger: str, tmp_path: Path) -> str:
    return ledger_url(tmp_path, like=empty_ledger)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    yield opened
    opened.close()


@pytest.fixture
def controller(ledger: Ledger, tmp_path: Path) -> Callable[..., Retraining]:
    """A controller that has just started."""

    def start(**changes: Any) -> Retraining:
        config = RetrainConfig.model_validate({"spec": TRAINING, "approve": "auto", **changes})
        journal = Journal(ledger, ledger.get("run1"))
        return Retraining(config, journal, LedgerLauncher(ledger), run_id="run1", model="wine", folder=tmp_path / "r")

    return start
