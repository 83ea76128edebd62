"""Token classification through prediction and `evaluate`: a class for each word, and a word as a sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from forgeline.bundle import Bundle
from forgeline_architectures.bert import ARCHITECTURE
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.data.builtin_marks import ShakespeareMarksConfig, prepare_shakespeare_marks
from forgeline_jobs.evaluate.measurement import Task, measure

CONFIG = {"name": "bert", "layers": 1, "heads": 1, "width": 8}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model that finds an end behind every word."""
    data = prepare_shakespeare_marks(ShakespeareMarksConfig())
    signature = data.signature.model_dump(mode="json")
    state = ARCHITECTURE.build_model(CONFIG, signature).state_dict()
    state["classifier.weight"].zero_()
    state["classifier.bias"].copy_(torch.tensor([0.0, 2.0, 0.0, 0.0]))
    return Bundle.save(
        tmp_path_factory.mktemp("tokens") / "bundle",
        model_state=state,
        architecture=CONFIG,
        signature=signature,
        preprocessing=data.preprocessing,
        data={"name": "shakespeare-marks", "config": {}, "fingerprint": data.fingerprint, "summary": {}},
    )


def test_a_text_gets_a_class_for_each_of_its_words(bundle: Bundle) -> None:
    table = bundle.predict(["to be or not to be", "that is the question"])
    assert table["prediction"].tolist() == [" ".join(["end"] * 6), " ".join(["end"] * 4)]
    assert [column["name"] for column in bundle.schema["outputs"]] == ["prediction"] == list(table.columns)


def test_evaluate_counts_words(bundle: Bundle, tmp_path: Path) -> None:
    task = Task(bundle=str(bundle.folder), data=None, split="val", batch_size=256, device="cpu", folder=str(tmp_path))
    values = measure(task)["metrics"]
    split = prepare_shakespeare_marks(ShakespeareMarksConfig()).splits["val"]
    target = split.batch(as_int64(range(len(split))))["target"]
    share = (target == 1).sum() / (target >= 0).sum()
    assert values["val/accuracy"] == pytest.approx(share) and values["val/recall[end]"] == 1
    assert values["val/loss"] == pytest.approx(values["val/log_loss"])
    assert "confusion-matrix.png" in (tmp_path / "report.md").read_text(encoding="utf-8")
