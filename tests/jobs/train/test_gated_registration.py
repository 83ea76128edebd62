"""Registration through a gate that is measured on samples: real bundles of real data, without Ray and Lightning."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from forgeline import metrics, plugins
from forgeline.bundle import Bundle
from forgeline.cli.app import app
from forgeline.errors import BundleTampered, GateRefused, SpecError
from forgeline.preprocessing import ClassTarget
from forgeline.registry.answers import answers_of
from forgeline.registry.conditions import GATE
from forgeline.registry.gate_reading import TableGateData, read_gate
from forgeline.registry.models import Registry
from forgeline.registry.promotion import keeper_of
from forgeline.settings import Settings, settings
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.evaluate.gate_data import PreparedGateData
from forgeline_jobs.train import registration
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import RegisterConfig

ARCHITECTURE = {"name": "mlp", "hidden": [16]}


def config_of(name: str = "breast-cancer", **settings: Any) -> Any:
    descriptor = cast(Any, plugins.find(plugins.DATA, name, key="data.name"))
    return descriptor.config_model().model_validate({"name": name, **settings})


def trained(folder: Path, config: Any, *, steps: int) -> Bundle:
    """A perceptron after so many steps on all of train."""
    data = prepare(config, verify=False)
    train, val = data.splits["train"], data.splits["val"]
    batch = train.batch(as_int64(range(len(train))))
    target = torch.from_numpy(batch.pop("target"))
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    architecture = cast(Any, plugins.find(plugins.ARCHITECTURES, "mlp", key="architecture.name"))
    torch.manual_seed(1)
    model = architecture.build_model(ARCHITECTURE, data.signature.model_dump(mode="json"))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(tensors), target).backward()
        optimizer.step()
    known: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "signature": data.signature.model_dump(mode="json"),
        "preprocessing": data.preprocessing,
        "data": {"name": config.name, "config": config.model_dump(mode="json"), "fingerprint": data.fingerprint},
    }
    bundle = Bundle.save(folder, model_state=model.state_dict(), **known)
    held_out = val.batch(as_int64(range(len(val))))
    truth = held_out.pop("target")
    found = metrics.from_outputs(bundle.task, bundle.outputs(held_out), truth, data.preprocessing)
    values = {f"val/{name}": value for name, value in found.items()}
    return Bundle.save(folder, model_state=model.state_dict(), metrics=values, **known)


@pytest.fixture
def environment(home: Path) -> Settings:
    return settings()


@pytest.fixture
def tracker(environment: Settings) -> Tracker:
    return Tracker(environment.resolved_tracking_uri, environment.artifact_root)


@pytest.fixture
def registry(environment: Settings, tracker: Tracker) -> Registry:
    return Registry(tracker, environment.resolved_ledger_url, home=environment.home_folder)


class Trainings:
    """Registers what a training left."""

    def __init__(self, environment: Settings, tracker: Tracker, folder: Path) -> None:
        self.model = folder.name
        self._environment, self._tracker, self._folder, self._count = environment, tracker, folder, 0

    def register(self, gate: Any, *, steps: int, alias: str = "champion", **data: Any) -> dict[str, Any]:
        self._count += 1
        root = self._folder / f"run-{self._count}"
        config = config_of(**data)
        bundle = trained(root / "bundle", config, steps=steps)
        context = SimpleNamespace(
            tracker=self._tracker,
            settings=self._environment,
            paths=SimpleNamespace(root=root, bundle=root / "bundle"),
            run_id=self._tracker.create_run("tests", self.model),
            spec=SimpleNamespace(data=config),
            emit=lambda *_, **__: None,
            message=lambda *_, **__: None,
        )
        assert bundle.data is not None
        result = {"task": bundle.task, "fingerprint": bundle.data.fingerprint, "metrics": dict(bundle.metrics)}
        checked = RegisterConfig(
            model=self.model, alias=alias, gate=None if gate is None else GATE.validate_python(gate)
        )
        return registration.register(cast(Any, context), checked, result, "kind: train\n")


@pytest.fixture
def trainings(environment: Settings, tracker: Tracker, tmp_path: Path) -> Trainings:
    return Trainings(environment, tracker, tmp_path)


PAIRED = [
    {"metric": "val/accuracy", "at_least": 0.7, "slices": ["class", "mean_radius>13"], "min_rows": 10},
    {"metric": "val/log_loss", "beats": "champion", "confidence": 0.95},
    {"calibration": {"at_most": 0.3}},
]


def test_a_challenger_is_judged_against_the_champion_and_the_champion_stays(
    trainings: Trainings, registry: Registry
) -> None:
    first = trainings.register({"metric": "val/accuracy", "at_least": 0.2}, steps=2)
    assert first["alias"] == "champion"
    better = trainings.register(PAIRED, steps=60, alias="challenger")
    assert (better["version"], better["alias"]) == (2, "challenger"), better["gate"]
    assert registry.version(trainings.model, alias="champion").version == 1
    same = trainings.register(PAIRED, steps=2, alias="challenger")
    assert same["alias"] is None
    assert registry.version(trainings.model, alias="challenger").version == 2

    evidence = registry.evidence(registry.version(trainings.model, number=2))
    assert evidence is not None and evidence.passed
    rival = evidence.rivals["champion"]
    assert rival is not None and (rival.version, rival.digest) == (
        1,
        registry.version(trainings.model, number=1).digest,
    )
    assert evidence.bundle_digest == registry.version(trainings.model, number=2).digest
    assert evidence.data is not None and evidence.data.samples["val"] > 30
    paired = [one for one in evidence.findings if one.condition == 1]
    assert paired[0].figures["gain_lower"] > 0 and paired[0].figures["seed"] == 0
    assert {one.figures["slice"] for one in evidence.findings if one.condition == 0} >= {"all", "mean_radius>13"}
    sha = registry.version(trainings.model, number=2).tags["forgeline.evidence"]
    assert registry.history(trainings.model, "challenger")[-1].why.endswith(f"evidence {sha}")
    failed = registry.evidence(registry.version(trainings.model, number=3))
    assert failed is not None and not failed.passed

    # The fitted scales of other splits differ; the champion answers in its own all the same.
    other = trainings.register(PAIRED, steps=60, alias="challenger", split={"seed": 5})
    assert other["version"] == 4
    evidence = registry.evidence(registry.version(trainings.model, number=4))
    assert evidence is not None and any("trained on other data" in note for note in evidence.notes) == (
        evidence.data is not None and evidence.data.fingerprint != registry.version(trainings.model, number=1).tags[
            "forgeline.data_fingerprint"
        ]
    )  # fmt: skip


def test_altered_evidence_and_altered_bundles_are_refused(
    trainings: Trainings, registry: Registry, environment: Settings
) -> None:
    trainings.register({"metric": "val/accuracy", "at_least": 0.2}, steps=2)
    trainings.register(PAIRED, steps=40, alias="challenger")
    version = registry.version(trainings.model, number=2)
    [path] = environment.home_folder.glob(f"artifacts/**/evidence/{version.tags['forgeline.evidence']}.json")
    content = path.read_text()
    path.write_text(content.replace('"passed": true', '"passed": false'))
    for refused in (lambda: registry.promote(trainings.model, 2), lambda: Bundle.load(f"models:/{trainings.model}/2")):
        with pytest.raises(BundleTampered, match="the evidence of .* version 2 is not what was written"):
            refused()
    path.write_text(content)
    assert Bundle.load(f"models:/{trainings.model}/2").digest == version.digest

    # Evidence of another version does not count for this one.
    other = registry.version(trainings.model, number=1)
    client = registry._tracker.client
    client.set_model_version_tag(trainings.model, "1", "forgeline.evidence", path.stem)
    [folder] = {
        found.parent for found in environment.home_folder.glob(f"artifacts/**/{other.run_id}/**/evidence/*.json")
    }
    (folder / path.name).write_text(content)
    with pytest.raises(BundleTampered, match="is of other bytes"):
        registry.promote(trainings.model, 1, "shadow")

    weights = registry.bundle_of(version) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(BundleTampered, match="is not the file that was sealed"):
        registry.promote(trainings.model, 2)
    assert registry.version(trainings.model, alias="champion").version == 1


def test_a_gate_that_cannot_be_judged_leaves_no_version(trainings: Trainings, registry: Registry) -> None:
    gate = {"metric": "val/accuracy", "at_least": 0.5, "confidence": 0.9, "slices": ["mean_raduis"]}
    with pytest.raises(SpecError, match="did you mean `mean_radius`"):
        trainings.register(gate, steps=1)
    assert trainings.model not in registry.list_models()


def test_a_champion_that_cannot_answer_is_not_beaten(trainings: Trainings, registry: Registry) -> None:
    trainings.register(None, steps=1, name="wine")
    found = trainings.register({"metric": "val/accuracy", "beats": "champion", "confidence": 0.9}, steps=5)
    assert found["alias"] is None
    assert found["gate"][0].startswith("the champion cannot be compared on these samples: ")
    json.dumps(found)


def test_an_exported_model_is_measured(trainings: Trainings) -> None:
    bound = {"format": "onnx", "parity": 1e-4, "p99": "30s", "size": "1MiB", "samples": 20}
    found = trainings.register({"export": bound}, steps=1)
    assert found["alias"] == "champion" and len(found["gate"]) == 3
    assert found["gate"][0].startswith("onnx: largest difference of an output ")
    found = trainings.register({"export": bound | {"size": "100B"}}, steps=1)
    assert found["alias"] is None and "is not at most 100 bytes" in found["gate"][2]


def test_a_registered_version_is_promoted_through_a_gate(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    trainings.register(None, steps=2)
    trainings.register({"metric": "val/accuracy", "at_least": 0.99}, steps=60)
    gate = tmp_path / "gate.yaml"
    gate.write_text("gate:\n  - {metric: val/log_loss, beats: champion, confidence: 0.95}\n")
    call = ["models", "promote", trainings.model, "2", "--gate"]
    done = CliRunner().invoke(app, [*call, "{metric: val/accuracy, at_least: 0.999, confidence: 0.9}"])
    assert isinstance(done.exception, GateRefused) and "not held: val/accuracy" in done.stdout
    done = CliRunner().invoke(app, [*call, str(gate), "--expect", "1", "--why", "looked at"])
    assert done.exit_code == 0, done.exception
    assert done.stdout.splitlines()[-1] == f"champion of {trainings.model} is version 2"
    assert registry.history(trainings.model)[-1].why.startswith("looked at; val/log_loss ")
    evidence = registry.evidence(registry.version(trainings.model, number=2))
    assert evidence is not None and evidence.passed and evidence.data is not None
    done = CliRunner().invoke(app, [*call, str(gate), "--data", "{name: no-such}"])
    assert isinstance(done.exception, SpecError)
    done = CliRunner().invoke(app, ["models", "show", f"{trainings.model}/2", "--format", "json"])
    assert json.loads(done.stdout)["evidence"]["passed"] is True


def test_rows_of_a_file_are_samples_too(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    trainings.register(None, steps=60)
    bundle = Bundle.load(registry.bundle_of(registry.version(trainings.model, number=1)))
    data = PreparedGateData("d", prepare(config_of(), verify=False), batch_size=64)
    frame = pd.DataFrame(data.columns("test"))
    frame["site"] = np.arange(len(frame)) % 2
    [(_, classes)] = [(0, np.concatenate([target for _, target in data.batches(bundle, "test")]))]
    target = bundle.preprocessing.target
    assert isinstance(target, ClassTarget)
    frame[target.name] = np.asarray(target.classes, dtype=object)[classes]
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    rows = TableGateData(path)
    mine, theirs = (answers_of(bundle, one, "test", batch_size=32) for one in (rows, data))
    np.testing.assert_allclose(mine.outputs, theirs.outputs, atol=1e-3)
    np.testing.assert_array_equal(mine.targets, theirs.targets)
    gate = "[{metric: test/accuracy, at_least: 0.8, confidence: 0.9, slices: [site]}]"
    keeper = keeper_of(registry, trainings.model, 1, read_gate(gate), data=str(path))
    assert [name for name in keeper.judge().reasons if "of site=1" in name]
    with pytest.raises(SpecError, match="--gate 0.*confidence"):
        read_gate("[{metric: test/accuracy, at_least: 0.8, confidence: 2}]")
