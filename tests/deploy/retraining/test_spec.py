"""`retrain:` as it is written, and the training that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from forgeline.errors import SpecError
from forgeline.spec import loading
from forgeline.spec.envelope import Envelope
from forgeline.spec.source import Document
from forgeline.spec.validation import validate
from forgeline_deploy.retraining.spec import RetrainConfig, check_retraining, training
from tests.deploy.retraining.conftest import TRAINING


class Deployment(Envelope):
    from_files: ClassVar[tuple[str, ...]] = ("retrain.spec",)
    retrain: RetrainConfig


def config(spec: dict[str, Any] | None = None, **changes: Any) -> RetrainConfig:
    return RetrainConfig.model_validate({"spec": spec or TRAINING, **changes})


def test_the_training_stands_in_a_file_beside_the_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_model", lambda document: Deployment)
    (tmp_path / "wine.yaml").write_text("kind: train\nname: wine\n")
    (tmp_path / "live.yaml").write_text("kind: deployment\nname: live\nretrain: {spec: wine.yaml, when: drift}\n")
    loaded = loading.load(tmp_path / "live.yaml")
    found: Any = loaded.spec
    assert found.retrain.spec == {"kind": "train", "name": "wine"} and found.retrain.when == "drift"
    assert loading.load(loaded.text).spec == loaded.spec
    (tmp_path / "live.yaml").write_text("kind: deployment\nname: live\nretrain:\n  spec: gone.yaml\n")
    with pytest.raises(SpecError, match=r"live\.yaml:4: retrain\.spec: .*gone\.yaml"):
        loading.load(tmp_path / "live.yaml")


def test_the_training_registers_a_challenger_on_recent_samples_once(tmp_path: Path) -> None:
    given = config(data={"held_out": "recent", "val": 0.3})
    spec: Any = training(given, model="wine", recent=tmp_path / "recent.parquet", once="retrain/run1/1").spec
    assert spec.register_.alias == "challenger" and spec.register_.gate.beats == "champion"
    assert spec.labels == {"forgeline.once": "retrain/run1/1"}
    recent = spec.data.recent
    assert (recent.path, recent.val, recent.held_out) == (str(tmp_path / "recent.parquet"), 0.3, "recent")


@pytest.mark.parametrize(
    ("changed", "model", "message"),
    [
        ({"kind": "evaluate"}, "wine", r"retrain\.spec"),
        ({"register": None}, "wine", r"retrain\.spec\.register: is missing"),
        ({"register": {"model": "beer"}}, "wine", r"retrain\.spec\.register\.model: got 'beer'"),
        ({"register": {"model": "wine"}}, "wine", r"retrain\.spec\.register\.gate: holds nothing against the champion"),
        (
            {"register": {"model": "wine", "gate": {"metric": "val/accuracy", "at_least": 0.9}}},
            "wine",
            "add `beats: champion`",
        ),
        ({"data": {"name": "sunspots"}, "architecture": {"name": "lstm"}}, "wine", r"retrain\.spec\.data\.recent"),
    ],
)
def test_a_training_that_could_not_follow_is_told_before_the_deployment_begins(
    changed: dict[str, Any], model: str, message: str
) -> None:
    check_retraining(config(), "wine")
    with pytest.raises(SpecError, match=message):
        check_retraining(config(TRAINING | changed), model)


class Holder(BaseModel):
    retrain: RetrainConfig


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"at_most": "7d"}, "1 per 90d"),
        ({"when": "always"}, "harm"),
        ({"data": {"least": 500, "most": 100}}, "least 500 is above most 100"),
        ({"data": {"val": 0.5, "test": 0.5}}, "leave nothing to train on"),
        ({"approved": "auto"}, "approve"),
    ],
)
def test_what_is_not_allowed_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        validate(Holder, Document(data={"retrain": {"spec": TRAINING, **changed}}))
