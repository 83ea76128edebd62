"""Inception's network with weights drawn at random: the features of torchmetrics, and files that are none of its."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgeline.bundle import Bundle
from forgeline.errors import DataError, UsageError
from forgeline.spec.loading import load
from forgeline_architectures.gan import ARCHITECTURE as GAN
from forgeline_jobs.data.images import ImagesConfig, prepare_images
from forgeline_jobs.evaluate.inception import read_inception
from forgeline_jobs.evaluate.kind import EvaluateKind
from forgeline_jobs.evaluate.measurement import Task, measure
from forgeline_jobs.evaluate.spec import EvaluateSpec

# In a process of its own: elsewhere torchmetrics is imported as if torch-fidelity were not there.
PEER = """
import sys
import numpy, torch
from torchmetrics.image.fid import NoTrainInceptionV3

weights, pictures, found = sys.argv[1:]
network = NoTrainInceptionV3("peer", ["2048", "logits_unbiased"], weights, antialias=False)
coloured = torch.from_numpy(numpy.load(pictures)).permute(0, 3, 1, 2).repeat(1, 3, 1, 1)
with torch.inference_mode():
    features, logits = network._torch_fidelity_forward(coloured)
numpy.savez(found, features=features, probabilities=logits.softmax(1))
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torch-fidelity's, of a network that nobody has trained."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        torch.save({}, path)
        network = inception.FeatureExtractorInceptionV3("untrained", ["2048"], feature_extractor_weights_path=path)
    torch.save(network.state_dict(), path)
    return path


def test_the_network_is_that_of_torchmetrics(weights: Path, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(256, size=(2, 8, 8, 1), dtype=np.uint8)
    inception = read_inception(weights)
    assert not inception.is_published
    seen = inception.see(pictures)
    assert (seen.features.shape, seen.probabilities.shape) == ((2, 2048), (2, 1008))
    np.save(tmp_path / "pictures.npy", pictures)
    command = [sys.executable, "-W", "ignore", "-c", PEER, weights, tmp_path / "pictures.npy", tmp_path / "found.npz"]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(seen.features, found["features"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen.probabilities, found["probabilities"], rtol=1e-4, atol=1e-6)
    assert seen.features.std(axis=0).max() > 0, "the pictures differ"


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pictures_of_no_class_are_measured_by_it(weights: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(10, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=noise)
    settings = {"name": "images", "task": "generation", "path": str(tmp_path / "noise.npz")}
    data = prepare_images(ImagesConfig.model_validate(settings))
    config = {"name": "gan", "latent": 2, "hidden": [4]}
    signature = data.signature.model_dump(mode="json")
    torch.manual_seed(0)
    Bundle.save(
        tmp_path / "bundle",
        model_state=GAN.build_model(config, signature).state_dict(),
        architecture=config,
        signature=signature,
        preprocessing=data.preprocessing,
        data={"name": "images", "config": settings, "fingerprint": data.fingerprint, "summary": {}},
    )
    spec = {"kind": "evaluate", "name": "e", "model": str(tmp_path / "bundle")}
    with pytest.raises(UsageError, match="pictures need classes, or the weights of `inception`"):
        EvaluateKind().check(load(spec).spec)  # type: ignore[arg-type]
    EvaluateKind().check(load(spec, set={"inception": str(weights)}).spec)  # type: ignore[arg-type]

    task = Task(
        bundle=str(tmp_path / "bundle"), data=None, split="test", batch_size=8, device="cpu",
        folder=str(tmp_path / "report"), inception=str(weights),
    )  # fmt: skip
    found = measure(task)["metrics"]
    assert set(found) == {"test/inception_frechet_distance", "test/inception_score"}
    assert found["test/inception_frechet_distance"] > 0
    assert found["test/inception_score"] == pytest.approx(1), "nobody has trained it to tell anything apart"
    report = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "not the published ones" in report and "2 samples were held against 2" in report


def test_what_is_not_the_networks_weights_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    contents = {"torn.pth": b"torn", "trap.pth": pickle.dumps(Trap(trap), protocol=2)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    for name in (*contents, "other.pth"):
        with pytest.raises(DataError, match=f"{name} does not hold Inception's weights") as caught:
            read_inception(tmp_path / name)
        assert caught.value.key == "inception"
    with pytest.raises(DataError, match=r"missing\.pth: No such file"):
        read_inception(tmp_path / "missing.pth")
    assert not trap.exists()


def test_a_path_is_made_absolute() -> None:
    spec = EvaluateSpec.model_validate({"kind": "evaluate", "name": "e", "model": "m", "inception": "weights.pth"})
    assert spec.inception == str(Path.cwd() / "weights.pth")
