"""Translations through the whole of `evaluate`: what a judge must read is the source's digit in the style asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from forgeline.bundle import Bundle
from forgeline_architectures.cyclegan import ARCHITECTURE
from forgeline_architectures.cyclegan.model import CycleGAN
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.builtin_styles import MnistStylesConfig, prepare_mnist_styles
from forgeline_jobs.evaluate.measurement import Task, measure

SETTINGS = {"name": "mnist-styles", "style": "inverted", "size": 16}
CONFIG = {"name": "cyclegan", "filters": 2, "blocks": 0, "discriminator_filters": 2, "discriminator_halvings": 2}


@pytest.fixture(scope="module")
def styles() -> PreparedData:
    return prepare_mnist_styles(MnistStylesConfig.model_validate(SETTINGS))


@pytest.fixture(scope="module")
def bundle(styles: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    signature = styles.signature.model_dump(mode="json")
    folder = tmp_path_factory.mktemp("translating") / "bundle"
    Bundle.save(
        folder,
        model_state=ARCHITECTURE.build_model(CONFIG, signature).state_dict(),
        architecture=CONFIG,
        signature=signature,
        preprocessing=styles.preprocessing,
        data={"name": "mnist-styles", "config": SETTINGS, "fingerprint": styles.fingerprint, "summary": {}},
    )
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_a_translation_keeps_the_digit_and_takes_the_style(
    bundle: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgeline_jobs.evaluate.judge.STEPS", 100)
    found: dict[str, Any] = {}
    ways: dict[str, Callable[[Tensor], Tensor]] = {"negative": lambda x: -x, "nothing": lambda x: x}
    for name, way in ways.items():
        monkeypatch.setattr(CycleGAN, "translated", lambda self, pictures, domain, way=way: way(pictures))
        task = Task(
            bundle=str(bundle), data=None, split="test", batch_size=500, device="cpu", folder=str(tmp_path / name),
            home=str(home),
        )  # fmt: skip
        found[name] = measure(task)
    right, wrong = (found[name]["metrics"] for name in ways)
    assert right["test/judge_accuracy"] == pytest.approx(right["test/judge_own_accuracy"], abs=0.03) and (
        right["test/judge_accuracy"] > 0.8
    )
    assert wrong["test/judge_accuracy"] < 0.01, "a picture that was left alone has its digit, in the wrong style"
    assert wrong["test/judge_own_accuracy"] == right["test/judge_own_accuracy"]
    assert any("into inverted" in note and "into plain" in note for note in found["negative"]["notes"])
    report = (tmp_path / "negative" / "report.md").read_text(encoding="utf-8")
    assert "samples.png" in report
