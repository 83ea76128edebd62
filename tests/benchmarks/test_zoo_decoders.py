"""Decoders are compared at equal parameters, data and steps; answers that are not ranked miss the bar on ranking."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

import forgeline as fl
from benchmarks.bars import SPECS
from benchmarks.zoo_decoders import BARS, compared
from forgeline import plugins
from forgeline_architectures.generation import Continuation
from forgeline_architectures.lamda import ARCHITECTURE
from forgeline_architectures.lamda.model import Lamda
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import TrainSpec

DECODERS = ("tinyshakespeare", "zoo/llama", "zoo/palm", "zoo/lamda")
PROMPTS = [[seed + 1, 2, 3] for seed in range(6)]


@pytest.fixture
def model() -> Lamda:
    torch.manual_seed(0)
    signature = {
        "task": "language_modelling",
        "inputs": {"tokens": {"shape": [16], "dtype": "int64"}},
        "outputs": [50],
    }
    config = {"name": "lamda", "layers": 1, "heads": 2, "width": 16, "head_width": 8, "candidates": 8}
    lamda = ARCHITECTURE.build_model(config, signature)
    assert isinstance(lamda, Lamda)
    with torch.no_grad():
        for parameter in lamda.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return lamda.eval()


def test_the_specs_differ_by_the_architecture_alone() -> None:
    assert {bar.spec for bar in BARS} == {f"{name}.yaml" for name in DECODERS[1:]}
    gpt, *others = (cast(TrainSpec, fl.load(SPECS / f"{name}.yaml").spec) for name in DECODERS)
    alike = gpt.model_dump(include={"data", "optimizer", "trainer", "checkpoint", "fine_tune"})
    assert all(spec.model_dump(include=set(alike)) == alike for spec in others)
    signature = prepare(gpt.data).signature.model_dump(mode="json")
    wanted, *counts = (_parameters(spec, signature) for spec in (gpt, *others))
    assert counts == pytest.approx([wanted] * 3, rel=0.01)


def _parameters(spec: TrainSpec, signature: dict[str, Any]) -> int:
    family: Any = plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name")
    with torch.device("meta"):
        model = family.build_model(spec.architecture.model_dump(mode="json"), signature)
    return sum(parameter.numel() for parameter in model.parameters())


def test_ranked_answers_are_likelier_than_plain_ones(model: Lamda) -> None:
    row = compared(model, PROMPTS, max_tokens=6)
    assert row["met"] and row["candidates"] == 8 and row["prompts"] == 6
    assert row["margin"] == pytest.approx(row["mean"] - row["at_least"])


def test_the_worst_of_the_candidates_misses_the_bar(model: Lamda, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked = Lamda.ranked

    def wrong_way_round(self: Lamda, *arguments: Any, **keywords: Any) -> list[Continuation]:
        return ranked(self, *arguments, **keywords)[::-1]

    monkeypatch.setattr(Lamda, "ranked", wrong_way_round)
    assert not compared(model, PROMPTS, max_tokens=6)["met"]


def test_a_plain_answer_is_none_of_the_candidates(model: Lamda) -> None:
    model.candidates = 1
    assert compared(model, PROMPTS, max_tokens=6)["margin"] != 0
