"""An autoencoder through a whole fit, in this process: a threshold in the bundle, a report, predictions by it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeline.bundle import Bundle
from forgeline.errors import SpecError
from forgeline.preprocessing import AnomalyTarget
from forgeline.spec.loading import load
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.data.builtin_images import DigitsConfig, prepare_digits
from forgeline_jobs.evaluate.kind import measure_task
from forgeline_jobs.evaluate.measurement import Task
from forgeline_jobs.evaluate.translation import Translation
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.worker import Job

DATA = {"name": "digits", "task": "reconstruction", "normal": [0], "quantile": 0.8, "batch_size": 16}
SPEC: dict[str, Any] = {
    "kind": "train",
    "name": "zeros",
    "architecture": {"name": "autoencoder", "hidden": [32], "latent": 4},
    "data": DATA,
    "optimizer": {"lr": 0.01},
    "trainer": {"epochs": 20, "validate_every": "10ep"},
}


def fit(home: Path, run_id: str, **change: Any) -> Job:
    job = Job(spec=load(SPEC, set=change).text, run_id=run_id, home=str(home), attempt=1, checkpoint=None)
    job.paths.attempt(1).mkdir(parents=True)
    Fitting(job).run()
    return job


@pytest.fixture(scope="module")
def zeros(home: Path) -> Job:
    return fit(home, "zeros")


@pytest.fixture(scope="module")
def denoiser(home: Path) -> Job:
    return fit(home, "denoiser", **{"data.noise": 0.3, "trainer.epochs": 1, "trainer.validate_every": "1ep"})


def report(job: Job, folder: Path, **change: Any) -> dict[str, float]:
    task = {"bundle": str(job.paths.bundle), "data": None, "split": "test", "batch_size": 64, "device": "cpu"}
    values: dict[str, float] = measure_task(asdict(Task(**task | change, folder=str(folder))))["metrics"]
    return values


def test_the_threshold_is_the_quantile_of_val(zeros: Job) -> None:
    bundle = Bundle.load(zeros.paths.bundle)
    val = prepare_digits(DigitsConfig.model_validate(DATA)).splits["val"]
    scores = bundle.outputs({"image": val.batch(as_int64(range(len(val))))["image"]}, device="cpu")[:, 0]
    target = bundle.preprocessing.target
    assert isinstance(target, AnomalyTarget)
    assert target.threshold == pytest.approx(np.quantile(scores, 0.8), rel=1e-4)
    assert bundle.reference is not None and set(bundle.reference.outputs) == {"score"}
    made = {path.name for path in zeros.paths.artifacts.iterdir()}
    assert {"reconstructions.png", "anomaly-scores.png"} <= made and "roc.png" not in made


def test_predictions_go_by_the_threshold(zeros: Job) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    bundle = Bundle.load(zeros.paths.bundle)
    found = bundle.predict(bunch.images[:300], device="cpu")
    assert list(found) == ["prediction", "score"] == [column["name"] for column in bundle.schema["outputs"]]
    told = found["prediction"] == "anomaly"
    target = bundle.preprocessing.target
    assert isinstance(target, AnomalyTarget) and target.threshold is not None
    assert (told == (found["score"] > target.threshold)).all()
    zero = bunch.target[:300] == 0
    assert told[~zero].mean() > 0.9 > 0.5 > told[zero].mean()


def test_evaluate_measures_how_anomalies_are_told(zeros: Job, tmp_path: Path) -> None:
    found = report(zeros, tmp_path)
    assert set(found) == {"test/loss", "test/psnr", "test/anomaly_auroc"} and found["test/anomaly_auroc"] > 0.95
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert all(f"{stem}.png" in text for stem in ("anomaly-scores", "roc", "reconstructions"))
    stated = Bundle.load(zeros.paths.bundle).metrics
    again = report(zeros, tmp_path / "val", split="val")
    assert again == pytest.approx(dict(stated), rel=1e-4) and "val/anomaly_auroc" not in again


def test_a_denoiser_is_measured_by_what_it_gains(denoiser: Job, tmp_path: Path) -> None:
    found = report(denoiser, tmp_path, split="val")
    assert found == pytest.approx(dict(Bundle.load(denoiser.paths.bundle).metrics), rel=1e-4)
    assert found["val/psnr_gain"] == pytest.approx(found["val/psnr"] - found["val/psnr_noisy"], abs=1e-4)
    other = report(denoiser, tmp_path / "less", split="val", data=DATA | {"noise": 0.1})
    assert other["val/psnr_noisy"] > found["val/psnr_noisy"] + 5


def test_data_in_other_units_keep_their_clean_pictures(denoiser: Job) -> None:
    model = Bundle.load(denoiser.paths.bundle).preprocessing
    data = prepare_digits(DigitsConfig.model_validate(DATA | {"noise": 0.3}))
    assert not Translation(data.preprocessing, model).needed
    brighter = data.preprocessing.model_copy(update={"pixel_max": 255.0})
    batch = data.splits["val"].batch(as_int64([0, 1]))
    found = Translation(brighter, model).inputs(batch)
    for name in ("image", "clean"):
        np.testing.assert_allclose(found[name], batch[name], atol=1e-5)


def test_the_area_chooses_no_checkpoint() -> None:
    assert TrainKind().check(load(SPEC).spec)["task"] == "reconstruction"  # type: ignore[arg-type]
    spec = load(SPEC, set={"checkpoint.metric": "val/anomaly_auroc"}).spec
    with pytest.raises(SpecError, match="which `evaluate` alone"):
        TrainKind().check(spec)  # type: ignore[arg-type]
