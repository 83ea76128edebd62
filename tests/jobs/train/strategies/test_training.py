"""Each strategy trains as DDP does, stops and goes on bit for bit, and on another number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline.bundle import Bundle
from forgeline_jobs.train.strategies.shards import Shards
from forgeline_jobs.train.worker import Job
from tests.jobs.train.strategies.workers import checkpoint_at, fit, logged

STEPS, MIDDLE = 50, 40
GPT: Mapping[str, Any] = {
    "kind": "train",
    "name": "gpt",
    "architecture": {"name": "gpt", "layers": 2, "heads": 2, "width": 16, "context": 32},
    "data": {"name": "tinyshakespeare", "batch_size": 4, "context": 32},
    "optimizer": {"lr": 3e-3, "schedule": "cosine", "warmup": "10%"},
    "trainer": {"steps": STEPS, "accumulate": 2, "gradient_clip": 0.5, "validate_every": f"{MIDDLE}step"},
    "resources": {"workers": 2},
}
SHARDED: Mapping[str, Any] = {
    "fsdp": "fsdp",
    **{f"zero-{stage}": {"name": "deepspeed", "zero_stage": stage} for stage in (1, 2, 3)},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def averaged(home: Path) -> Job:
    return fit(GPT, home, "ddp")


# Stage 1 shares the optimizer out as stage 2 does, which is held here.
LONG = pytest.param("zero-1", marks=pytest.mark.acceptance)


@pytest.fixture(scope="module", params=[LONG if name == "zero-1" else name for name in SHARDED])
def trained(request: pytest.FixtureRequest, home: Path) -> tuple[Any, Job]:
    """A strategy, and two workers' run with it."""
    strategy = SHARDED[request.param]
    return strategy, fit(GPT, home, request.param, strategy=strategy)


def test_losses_and_gradient_norms_are_those_of_ddp(trained: tuple[Any, Job], averaged: Job) -> None:
    found, expected = logged(trained[1]), logged(averaged)
    assert len([name for name, _ in expected if name == "train/gradient_norm"]) == STEPS
    assert found == pytest.approx(expected, abs=1e-4)


def test_each_worker_writes_its_part_of_weights_and_moments(trained: tuple[Any, Job], averaged: Job) -> None:
    folder = checkpoint_at(trained[1], STEPS)
    sizes = [file.stat().st_size for file in sorted(folder.glob("shard-*"))]
    assert len(sizes) == 2 and max(sizes) < 1.2 * min(sizes)
    shards = Shards(folder)
    expected = torch.load(checkpoint_at(averaged, STEPS) / "state.pt", weights_only=True)["state_dict"]
    weights = shards.weights()
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-4)
        assert set(shards.kinds(name)) == {"exp_avg", "exp_avg_sq", "step"}
        assert shards.whole(f"step/{name}") == STEPS


def test_the_bundle_has_the_whole_model(trained: tuple[Any, Job], averaged: Job) -> None:
    prompt = "To be, or not to be"
    models = [Bundle.load(job.paths.bundle) for job in (trained[1], averaged)]
    one, other = (model.generate(prompt, max_tokens=8, temperature=0.0, seed=0) for model in models)
    assert one == other


@pytest.mark.parametrize("workers", [2, 1])
def test_a_stopped_run_goes_on_with_as_many_workers_and_with_fewer(
    trained: tuple[Any, Job], home: Path, workers: int
) -> None:
    strategy, whole = trained
    start = checkpoint_at(whole, MIDDLE)
    change = {"strategy": strategy, "resources.workers": workers}
    again = fit(GPT, home, f"{whole.run_id}-{workers}", resume_from=start, **change)
    tolerance = 0.0 if workers == 2 else 1e-5
    found, expected = logged(again), logged(whole)
    assert {step for name, step in found if name == "train/loss"} == set(range(MIDDLE + 1, STEPS + 1))
    assert found == pytest.approx({key: expected[key] for key in found}, abs=tolerance, rel=0)
    one, other = (Shards(checkpoint_at(job, STEPS)) for job in (again, whole))
    assert one.shapes == other.shapes
    for key in one.shapes:
        torch.testing.assert_close(one.whole(key), other.whole(key), rtol=0, atol=tolerance)


ODD: Mapping[str, Any] = {"name": "mlp", "hidden": [2]}  # 13 x 2 + 2 + 2 x 3 + 3: an odd number of parameters
PAIRS: Mapping[str, Any] = {"name": "transformer", "layers": 1, "heads": 2, "width": 16, "feed_forward": 16}


@pytest.mark.parametrize(
    ("architecture", "data", "strategy"),
    [
        (ODD, "wine", {"name": "deepspeed", "zero_stage": 2}),  # whose buffers have to be aligned
        # whose decoder's layers are called twice in a step
        pytest.param(PAIRS, "reverse-copy", "fsdp", marks=pytest.mark.acceptance),
        (ODD, "breast-cancer", "fsdp"),  # whose 57 samples to validate on are 8 batches of one worker, 7 of the other
    ],
    ids=["odd", "called-twice", "uneven"],
)
def test_models_that_ask_more_of_a_strategy(
    home: Path, architecture: Mapping[str, Any], data: str, strategy: Any
) -> None:
    spec = {**GPT, "architecture": architecture, "data": {"name": data, "batch_size": 8}, "trainer": {"steps": 5}}
    one, other = (fit(spec, home, f"{data}-{number}", strategy=asked) for number, asked in enumerate(("ddp", strategy)))
    assert logged(other) == pytest.approx(logged(one), abs=1e-4)


@pytest.mark.parametrize("architecture", ["gpt", pytest.param("llama", marks=pytest.mark.acceptance)])
def test_workers_that_share_matrices_train_as_ddp_does(home: Path, architecture: str) -> None:
    change = {"architecture.name": architecture, "trainer.steps": 12, "trainer.validate_every": "8step"}
    expected = fit(GPT, home, f"{architecture}-ddp", **change)
    shared = fit(GPT, home, f"{architecture}-shared", strategy={"name": "fsdp", "tensor_parallel": 2}, **change)
    assert logged(shared) == pytest.approx(logged(expected), abs=1e-4)
    start = checkpoint_at(shared, 8)
    for name, settings in (("as-before", {"tensor_parallel": 2}), ("without", {})):
        strategy = {"name": "fsdp", **settings}
        again = logged(fit(GPT, home, f"{architecture}-{name}", resume_from=start, strategy=strategy, **change))
        whole = {key: logged(shared)[key] for key in again}
        assert again == pytest.approx(whole, abs=0 if settings else 1e-5, rel=0)


def test_ddp_goes_on_with_another_number_of_workers(averaged: Job, home: Path) -> None:
    start = checkpoint_at(averaged, MIDDLE)
    again = fit(GPT, home, "ddp-1", resume_from=start, **{"resources.workers": 1})
    found, expected = logged(again), logged(averaged)
    assert found == pytest.approx({key: expected[key] for key in found}, abs=1e-5)


@pytest.mark.parametrize("strategy", ["fsdp", {"name": "deepspeed", "zero_stage": 3}], ids=["fsdp", "zero-3"])
def test_half_precision_and_blocks_computed_twice(home: Path, strategy: Any) -> None:
    change = {"trainer.precision": "bf16-mixed", "trainer.gradient_checkpointing": True, "trainer.steps": 20}
    name = f"half-{strategy if isinstance(strategy, str) else 'zero'}"
    job = fit(GPT, home, name, strategy=strategy, **change)
    values = logged(job)
    assert values["train/loss", 20] < values["train/loss", 1] - 0.1
    assert {weight.dtype for weight in Shards(checkpoint_at(job, 20)).weights().values()} == {torch.float32}


@pytest.mark.acceptance
@pytest.mark.parametrize("name", ["ddp", *SHARDED])
def test_what_four_workers_wrote_goes_on_with_two_and_with_one(home: Path, name: str) -> None:
    strategy = SHARDED.get(name, "ddp")
    change = {"strategy": strategy, "trainer.steps": 6, "trainer.validate_every": "3step"}
    four = fit(GPT, home, f"{name}-of-four", **change, **{"resources.workers": 4})
    expected = logged(four)
    for workers in (2, 1):
        again = fit(
            GPT,
            home,
            f"{name}-of-four-{workers}",
            resume_from=checkpoint_at(four, 3),
            **change,
            **{"resources.workers": workers},
        )
        found = logged(again)
        assert ("train/loss", 6) in found
        assert found == pytest.approx({key: expected[key] for key in found}, abs=1e-5)
        if name != "ddp":
            one, other = (Shards(checkpoint_at(job, 6)) for job in (again, four))
            for key in other.shapes:
                torch.testing.assert_close(one.whole(key), other.whole(key), rtol=0, atol=1e-5)
