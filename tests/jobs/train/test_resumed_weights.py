"""A run goes on without the weights that it began from: the file, and the bundle, may be gone."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgeline.bundle import Bundle
from forgeline.errors import SpecError
from forgeline.launching.resuming import check_unchanged
from forgeline.spec.loading import load
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.worker import Job

PICTURES: dict[str, Any] = {
    "kind": "train",
    "name": "pictures",
    "architecture": {"name": "test_resnet"},
    "data": {"name": "digits", "batch_size": 64},
    "optimizer": {"lr": 1e-9, "weight_decay": 0},
    "trainer": {"steps": 2, "validate_every": "2step"},
}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    import timm

    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def fit(home: Path, text: str, attempt: int) -> Job:
    root = Job(spec=text, run_id="begun", home=str(home), attempt=attempt, checkpoint=None).paths.checkpoints
    newest = checkpoint.newest(root, warn=pytest.fail) if attempt > 1 else None
    job = Job(
        spec=text, run_id="begun", home=str(home), attempt=attempt, checkpoint=None if newest is None else str(newest)
    )
    job.paths.attempt(attempt).mkdir(parents=True)
    Fitting(job).run()
    return job


def test_a_run_goes_on_after_its_file_of_weights_is_gone(network: Path, tmp_path: Path) -> None:
    begun = {"architecture.pretrained": str(network)}
    first = load(PICTURES, set=begun)
    filters = load_file(network)["layer1.0.conv1.weight"]
    fit(tmp_path, first.text, attempt=1)
    network.unlink()
    longer = {**begun, "trainer.steps": 4}
    with pytest.raises(SpecError, match="there is no file"):
        load(PICTURES, set=longer)
    loaded = load(PICTURES, set=longer, stored=True)
    check_unchanged("begun", stored=first.text, given=loaded.text)
    assert TrainKind().check_resumed(loaded.spec)["task"] == "classification"  # type: ignore[arg-type]
    job = fit(tmp_path, loaded.text, attempt=2)
    bundle = Bundle.load(job.paths.bundle)
    torch.testing.assert_close(bundle.model.state_dict()["network.layer1.0.conv1.weight"], filters, rtol=0, atol=1e-5)


def test_a_relative_path_is_still_the_one_that_the_run_began_with(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(network.parent)
    first = load(PICTURES, set={"architecture.pretrained": network.name})
    network.unlink()
    again = load(PICTURES, set={"architecture.pretrained": network.name}, stored=True)
    check_unchanged("begun", stored=first.text, given=again.text)


def test_a_run_goes_on_after_its_bundle_is_gone(wine_bundle: Path, tmp_path: Path) -> None:
    copytree(wine_bundle, tmp_path / "bundle")
    settings = {
        "kind": "train",
        "name": "wine",
        "architecture": {"name": "mlp", "hidden": [16]},
        "data": {"name": "wine", "batch_size": 16},
        "fine_tune": {"pretrained": str(tmp_path / "bundle"), "adapter": {"layers": ["hidden.*"]}},
    }
    spec: Any = load(settings).spec
    assert TrainKind().check(spec)
    rmtree(tmp_path / "bundle")
    with pytest.raises(SpecError):
        TrainKind().check(spec)
    assert TrainKind().check_resumed(spec)["task"] == "classification"
