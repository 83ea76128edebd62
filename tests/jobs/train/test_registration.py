"""From a result to a version and its alias, without a training and without MLflow's own model format."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.errors import SpecError
from forgeline.registry.gates import Gate
from forgeline.registry.models import Lineage, Registry
from forgeline.settings import Settings, settings
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.train import registration
from forgeline_jobs.train.spec import RegisterConfig

RESULT = {"task": "classification", "fingerprint": "d1"}


@pytest.fixture
def environment(home: Path) -> Settings:
    return settings()


@pytest.fixture
def tracker(environment: Settings) -> Tracker:
    return Tracker(environment.resolved_tracking_uri, environment.artifact_root)


@pytest.fixture
def registry(environment: Settings, tracker: Tracker) -> Registry:
    return Registry(tracker, environment.resolved_ledger_url, home=environment.home_folder)


@pytest.fixture
def context(environment: Settings, tracker: Tracker, tmp_path: Path) -> Any:
    return SimpleNamespace(
        tracker=tracker,
        settings=environment,
        paths=SimpleNamespace(root=tmp_path, bundle=tmp_path / "bundle"),
        run_id=tracker.create_run("tests", "digits"),
        spec=SimpleNamespace(data=None),
        emit=lambda *_, **__: None,
    )


def put(folder: Path, accuracy: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "bundle.json").write_text(f'{{"metrics": {{"val/accuracy": {accuracy}, "val/recall[1]": {accuracy}}}}}')


def register(context: Any, config: RegisterConfig, accuracy: float) -> dict[str, Any]:
    result = RESULT | {"metrics": {"val/accuracy": accuracy, "val/recall[1]": accuracy}}
    return registration.register(cast(Any, context), config, result, "kind: train\n")


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "prepare", lambda data, verify: SimpleNamespace(input_example=None))
    monkeypatch.setattr(registration, "save_mlflow_model", lambda bundle, folder, example: put(folder, 0.8))


def test_a_champion_that_came_meanwhile_is_not_overtaken_by_a_worse_model(
    context: Any, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RegisterConfig(model="race", gate=Gate(metric="val/accuracy", beats="champion"))

    def slow(bundle: Path, folder: Path, example: Any) -> None:
        put(folder, 0.8)
        put(tmp_path / "better", 0.9)
        version = registry.register(
            name="race",
            mlflow_model_folder=tmp_path / "better",
            run_id=context.run_id,
            metrics={"val/accuracy": 0.9},
            lineage=Lineage(data_fingerprint="d1", spec=""),
        )
        registry.promote("race", version)

    monkeypatch.setattr(registration, "save_mlflow_model", slow)
    registered = register(context, config, 0.8)
    assert registered["alias"] is None
    assert registered["gate"] == ["val/accuracy 0.8 is not above the champion's 0.9"]
    assert registry.metrics_of("race") == {"val/accuracy": 0.9}


def test_a_gate_on_one_class_beats_the_champions_class(context: Any, registry: Registry) -> None:
    config = RegisterConfig(model="classes", gate=Gate(metric="val/recall[1]", beats="champion"))
    assert register(context, config, 0.8)["alias"] == "champion"
    assert register(context, config, 0.7)["gate"] == ["val/recall[1] 0.7 is not above the champion's 0.8"]


def test_a_gate_that_cannot_be_judged_leaves_no_version(context: Any, registry: Registry) -> None:
    with pytest.raises(SpecError, match="register.gate.metric"):
        register(context, RegisterConfig(model="wrong", gate=Gate(metric="val/acuracy", at_least=1)), 0.8)
    assert "wrong" not in registry.list_models()
