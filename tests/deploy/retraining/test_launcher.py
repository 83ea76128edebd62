"""A real training, begun by two controllers at once, on the original and recent rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from forgeline import api
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import open_ledger
from forgeline.preprocessing.recent import write_rows
from forgeline_deploy.retraining.attempt import Outcome, Stage
from forgeline_deploy.retraining.launcher import CommandLauncher, LaunchRefused
from forgeline_deploy.retraining.retraining import Retraining, Wish
from forgeline_deploy.retraining.spec import RetrainConfig
from tests.deploy.retraining.conftest import TRAINING


class Wines:
    """Wines that were labelled lately."""

    def write(self, folder: Path, *, since: float, most: int) -> Path:
        bunch = load_wine(as_frame=True)
        rows = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
        rows = rows.assign(grower=[str(bunch.target_names[c]) for c in bunch.target])
        write_rows(folder / "recent.parquet", rows, [f"request-{number}" for number in range(len(rows))])
        return folder / "recent.parquet"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGELINE_LOCAL_CPUS", "2")
    for name in ("MLFLOW_TRACKING_URI", "FORGELINE_TRACKING_URI", "FORGELINE_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.mark.ray
def test_two_controllers_begin_one_training_and_its_model_is_the_challenger(home: Path) -> None:
    ledger = open_ledger()
    owner = ledger.create_run(id="live", name="wine-live", kind="deployment", spec="")
    config = RetrainConfig.model_validate({"spec": TRAINING, "approve": "auto", "data": {"least": 100}})

    def controller() -> Retraining:
        launcher = CommandLauncher(ledger)
        return Retraining(config, Journal(ledger, owner), launcher, run_id="live", model="wine", folder=home / "r")

    assert controller().want(Wish(why="harm", summary="accuracy fell", labelled=178), 1.0) is None
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda one: one.advance(Wines(), 2.0), [controller(), controller()]))
    assert [(each.stage, each.message) for each in both if each is not None] == [(Stage.LAUNCHED, None)] * 2
    [run] = ledger.list_runs(kind="train")
    assert {each.run for each in both if each is not None} == {run.id}
    assert api.get(run.id).wait(240) == "succeeded"
    ended = controller().advance(Wines(), 100.0)
    assert ended is not None and (ended.outcome, ended.version) == (Outcome.PASSED, 1)
    found = api.get(run.id).result["registered"]
    assert found["alias"] == "challenger"


def test_a_training_that_cannot_begin_is_refused(home: Path, tmp_path: Path) -> None:
    spec = tmp_path / "train.yaml"
    spec.write_text("kind: train\nname: wine\nepochs: 3\n", encoding="utf-8")
    with pytest.raises(LaunchRefused, match="epochs"):
        CommandLauncher(open_ledger()).launch(spec, "retrain/live/1")
    assert open_ledger().list_runs() == []
