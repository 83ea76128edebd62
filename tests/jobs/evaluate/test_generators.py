"""Generators of known quality through the whole of `evaluate`: the judge, its metrics, known modes, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.errors import BundleError, DataError, SpecError, UsageError
from forgeline.spec.loading import load
from forgeline_architectures.gan import ARCHITECTURE
from forgeline_jobs.data.base import PreparedData, as_int64
from forgeline_jobs.data.builtin_images import DigitsConfig, prepare_digits
from forgeline_jobs.data.builtin_points import SCALE, SIGMA, Gaussians25Config, centres, prepare_gaussians25
from forgeline_jobs.evaluate import judge as judging
from forgeline_jobs.evaluate.generation import check_generator
from forgeline_jobs.evaluate.judge import Judge, judge_of
from forgeline_jobs.evaluate.kind import EvaluateKind
from forgeline_jobs.evaluate.measurement import Task, data_of, measure
from forgeline_jobs.evaluate.sample_pictures import by_label
from forgeline_jobs.evaluate.sample_quality import frechet_distance

DIGITS = {"name": "digits", "task": "generation", "condition": "label"}
POINTS = {"name": "gaussians25", "condition": "label"}


def bundle_of(folder: Path, data: PreparedData, settings: dict[str, Any], weights: dict[str, Any], hidden: int) -> Path:
    """A conditional GAN whose generator has these weights: layers `0` and `2`, zeros where nothing is said."""
    config = {"name": "gan", "latent": 2, "hidden": [hidden]}
    signature = data.signature.model_dump(mode="json")
    state = ARCHITECTURE.build_model(config, signature).state_dict()
    for name, tensor in state.items():
        if name.startswith("generator."):
            tensor.copy_(torch.as_tensor(weights.get(name.removeprefix("generator."), 0.0)).expand_as(tensor))
    Bundle.save(
        folder,
        model_state=state,
        architecture=config,
        signature=signature,
        preprocessing=data.preprocessing,
        data={"name": settings["name"], "config": settings, "fingerprint": data.fingerprint, "summary": {}},
    )
    return folder


def measured(bundle: Path, folder: Path, home: Path, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"data": None, "split": "test", "batch_size": 4096, "device": "cpu"}
    return measure(Task(bundle=str(bundle), folder=str(folder), home=str(home), **(settings | changes)))


@pytest.fixture(scope="module")
def points() -> PreparedData:
    return prepare_gaussians25(Gaussians25Config(condition="label"))


@pytest.fixture(scope="module")
def digits() -> PreparedData:
    return prepare_digits(DigitsConfig.model_validate(DIGITS))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def judge(digits: PreparedData, judged: Path) -> Judge:
    return judge_of(digits.splits["train"], "image", judged)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def means(digits: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A generator of the mean picture of each digit, and one of the next digit's instead."""
    train = digits.splits["train"].batch(as_int64(range(len(digits.splits["train"]))))
    pictures = np.stack([train["image"][train["label"] == label].mean(0).ravel() for label in range(10)])
    logits = np.arctanh(pictures.clip(-0.999, 0.999)).astype(np.float32)
    first = torch.zeros(10, 12)
    first[:, 2:] = torch.eye(10)
    folder = tmp_path_factory.mktemp("means")
    return [
        bundle_of(
            folder / str(shift),
            digits,
            DIGITS,
            {"0.weight": first, "2.weight": torch.from_numpy(np.roll(logits, -shift, axis=0)).T},
            10,
        )
        for shift in (0, 1)
    ]


class TestPoints:
    def test_the_distribution_itself(self, points: PreparedData, tmp_path: Path) -> None:
        """25 units pass the label on, four the noise on either side of 0."""
        first = torch.zeros(29, 27)
        first[:25, 2:] = torch.eye(25)
        first[25:, :2] = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        noise = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]) * SIGMA
        last = torch.cat([torch.from_numpy(centres()).float().T, noise], dim=1) / SCALE
        bundle = bundle_of(tmp_path / "b", points, POINTS, {"0.weight": first, "2.weight": last}, 29)
        result = measured(bundle, tmp_path / "r", tmp_path)
        assert set(result["metrics"]) == {"test/modes", "test/high_quality"}
        assert result["metrics"]["test/modes"] == 25
        assert result["metrics"]["test/high_quality"] == pytest.approx(1 - np.exp(-4.5), abs=0.004)
        assert result["samples"] == 10_000 and not (tmp_path / "judges").exists()
        report = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
        assert "25 modes" in report and "samples.png" in report

    @pytest.mark.parametrize(("place", "expected"), [((2.0, -4.0), (1.0, 1.0)), ((1.0, 1.0), (0.0, 0.0))])
    def test_all_in_one_place(self, points: PreparedData, place: Any, expected: Any, tmp_path: Path) -> None:
        bias = torch.tensor(place) / SCALE
        bundle = bundle_of(tmp_path / "b", points, POINTS, {"2.bias": bias}, 4)
        found = measured(bundle, tmp_path / "r", tmp_path)["metrics"]
        assert (found["test/modes"], found["test/high_quality"]) == expected

    def test_data_without_the_condition_are_refused(self, points: PreparedData, tmp_path: Path) -> None:
        bundle = bundle_of(tmp_path / "b", points, POINTS, {}, 4)
        with pytest.raises(DataError, match="other conditions"):
            data_of(Bundle.load(bundle), Gaussians25Config())

    def test_an_option_that_there_is_not_is_refused_before_the_run(self, points: PreparedData, tmp_path: Path) -> None:
        bundle = bundle_of(tmp_path / "b", points, POINTS, {}, 4)
        spec = {"kind": "evaluate", "name": "e", "model": str(bundle), "options": {"steps": 20}}
        with pytest.raises(UsageError, match="unknown option 'steps'"):
            EvaluateKind().check(load(spec).spec)  # type: ignore[arg-type]

    def test_inception_is_for_pictures(self, points: PreparedData, tmp_path: Path) -> None:
        bundle = bundle_of(tmp_path / "b", points, POINTS, {}, 4)
        spec = {"kind": "evaluate", "name": "e", "model": str(bundle), "inception": "weights.pth"}
        with pytest.raises(DataError, match="it is for pictures, gan makes points: remove it"):
            EvaluateKind().check(load(spec).spec)  # type: ignore[arg-type]


class TestDigits:
    def test_it_knows_digits_from_noise(self, digits: PreparedData, judge: Judge) -> None:
        def seen(name: str) -> Any:
            return digits.splits[name].batch(as_int64(range(len(digits.splits[name]))))["image"]

        split: Any = digits.splits["test"]
        train, test = judge.read(seen("train")), judge.read(seen("test"))
        assert test.share_read(split.attributes(as_int64(range(len(split))))) >= 0.97
        noise = np.random.default_rng(0).uniform(-1, 1, seen("test").shape).astype(np.float32)
        apart = frechet_distance(judge.read(noise).features, test.features)
        assert frechet_distance(train.features, test.features) < apart / 10

    def test_it_is_trained_once_for_the_same_data(
        self, digits: PreparedData, judge: Judge, judged: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(judging, "_train", lambda *arguments: pytest.fail("trained again"))
        told = prepare_digits(DigitsConfig(task="generation"))  # without the condition the pictures are the same
        again = judge_of(told.splits["train"], "image", judged)  # type: ignore[arg-type]
        for name, tensor in judge.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name]), name
        (file,) = (judged / "judges").iterdir()
        broken = judged / "broken" / "judges"
        broken.mkdir(parents=True)
        (broken / file.name).write_bytes(b"torn")
        with pytest.raises(BundleError, match="cannot be read"):
            judge_of(told.splits["train"], "image", broken.parent)  # type: ignore[arg-type]

    @pytest.mark.usefixtures("judge")
    def test_what_was_asked_for_is_read_back_or_not(self, means: list[Path], judged: Path, tmp_path: Path) -> None:
        right, wrong = (measured(each, tmp_path / each.name, judged, untrained=True) for each in means)
        assert set(right["metrics"]) == {
            f"test/{name}"
            for name in (
                "frechet_distance",
                "frechet_distance_untrained",
                "judge_accuracy",
                "judge_own_accuracy",
                "judge_score",
            )
        }
        assert right["metrics"]["test/judge_accuracy"] == 1 and wrong["metrics"]["test/judge_accuracy"] == 0
        for result in (right, wrong):
            values = result["metrics"]
            assert values["test/frechet_distance"] < values["test/frechet_distance_untrained"]
            assert values["test/judge_score"] > 8 and values["test/judge_own_accuracy"] >= 0.97
        report = (tmp_path / means[0].name / "report.md").read_text(encoding="utf-8")
        assert "not those of Inception" in report and "test/judge_own_accuracy" in report and "samples.png" in report

    @pytest.mark.usefixtures("judge")
    def test_fresh_weights_make_what_training_starts_from(self, judged: Path, tmp_path: Path) -> None:
        """Bundles of the very weights: the same samples, unless batch norms have statistics of nothing there."""
        config = {"name": "digits", "task": "generation"}
        data = prepare_digits(DigitsConfig.model_validate(config))
        found = {}
        for architecture in ({"name": "gan", "latent": 4}, {"name": "dcgan", "latent": 4, "widths": [64]}):
            family: Any = plugins.find(plugins.ARCHITECTURES, architecture["name"], key="architecture.name")  # type: ignore[arg-type]
            signature = data.signature.model_dump(mode="json")
            torch.manual_seed(0)
            folder = tmp_path / str(architecture["name"])
            Bundle.save(
                folder,
                model_state=family.build_model(architecture, signature).state_dict(),
                architecture=architecture,
                signature=signature,
                preprocessing=data.preprocessing,
                data={"name": "digits", "config": config, "fingerprint": data.fingerprint, "summary": {}},
            )
            values = measured(folder, tmp_path / f"{folder.name}-r", judged, untrained=True, batch_size=32)["metrics"]
            found[folder.name] = values["test/frechet_distance_untrained"] / values["test/frechet_distance"]
        assert found["gan"] == 1 and found["dcgan"] < 0.9

    def test_generators_without_anything_to_judge_by_are_refused(
        self, digits: PreparedData, means: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for split in digits.splits.values():
            monkeypatch.setattr(split, "attribute_cardinalities", ())
        with pytest.raises(UsageError, match="pictures need classes"):
            check_generator(Bundle.load(means[0]), digits, {})


def test_a_head_for_each_attribute_of_pictures_of_any_size() -> None:
    for shape in ((3, 16, 16), (1, 3, 5), (3, 64, 48)):
        pictures = np.zeros((5, *shape), dtype=np.float32)
        reading = Judge(shape, (6, 4, 9)).read(pictures)
        assert [each.shape for each in reading.probabilities] == [(5, 6), (5, 4), (5, 9)]
        assert reading.attributes.shape == (5, 3) and len(reading.features) == 5
        assert reading.share_read(reading.attributes) == 1
        assert reading.share_read(reading.attributes + [[0, 0, 1]]) == 0, "one attribute is not enough"


def test_settings_of_generators_are_refused_for_others(wine_bundle: Path) -> None:
    spec = {"kind": "evaluate", "name": "e", "model": str(wine_bundle), "untrained": True}
    with pytest.raises(SpecError, match=r"untrained: got True; it is for generators"):
        EvaluateKind().check(load(spec).spec)  # type: ignore[arg-type]


def test_a_grid_has_a_row_for_each_label() -> None:
    labels = np.asarray([1, 0, 1, 1])[:, None]
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None]
    rows = by_label(pictures, labels)[:, 0, 0, 0].reshape(2, 8).tolist()
    assert rows == [[1, *[255] * 7], [0, 2, 3, *[255] * 5]]
    assert by_label(pictures, None) is not None and len(by_label(pictures, None)) == 4
