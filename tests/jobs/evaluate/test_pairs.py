"""A model of pairs is measured by what it writes, and its loss is validation's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from forgeline import metrics
from forgeline.bundle import Bundle
from forgeline.errors import DataError
from forgeline_architectures.seq2seq import ARCHITECTURE
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.builtin_pairs import ReverseCopyConfig, prepare_reverse_copy
from forgeline_jobs.data.loader import eval_loader
from forgeline_jobs.data.pairs import prepare_pairs
from forgeline_jobs.evaluate.measurement import Task, measure
from forgeline_jobs.evaluate.translation import Translation
from forgeline_jobs.train.callbacks.validation import Outputs

CONFIG = {"name": "seq2seq", "hidden": 8, "embedding": 8, "beams": 1}


@pytest.fixture(scope="module")
def data() -> PreparedData:
    return prepare_reverse_copy(ReverseCopyConfig())


def test_the_measure_is_that_of_validation(data: PreparedData, tmp_path: Path) -> None:
    signature = data.signature.model_dump(mode="json")
    torch.manual_seed(0)
    module = ARCHITECTURE.build_module(CONFIG, signature, {"total_steps": 1}).eval()
    Bundle.save(
        tmp_path / "bundle",
        model_state=module.model.state_dict(),
        architecture=CONFIG,
        signature=signature,
        preprocessing=data.preprocessing,
        data={
            "name": "reverse-copy",
            "config": {"name": "reverse-copy"},
            "fingerprint": data.fingerprint,
            "summary": {},
        },
    )
    outputs = Outputs()
    with torch.no_grad():
        for index, batch in enumerate(eval_loader(data.splits["test"], 200)):
            outputs.add(module.validation_step(batch, index))
    expected = outputs.measure(data)
    assert set(expected) == set(metrics.METRICS["translation"])
    task = Task(
        bundle=str(tmp_path / "bundle"),
        data=None,
        split="test",
        batch_size=64,
        device="cpu",
        folder=str(tmp_path / "r"),
    )
    measured = measure(task)["metrics"]
    assert measured == pytest.approx({f"test/{name}": value for name, value in expected.items()}, rel=1e-5)
    assert measured["test/loss"] == pytest.approx(np.log(29), abs=0.3), "an untrained model knows nothing"
    assert "test/token_error_rate" in (tmp_path / "r" / "report.md").read_text()


def test_other_symbols_are_refused(data: PreparedData) -> None:
    other = prepare_pairs({split: [("ab", "ba")] for split in SPLITS})
    with pytest.raises(DataError, match="other symbols or lengths"):
        Translation(other.preprocessing, data.preprocessing)
