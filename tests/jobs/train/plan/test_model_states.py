"""Bytes of model states: those of real modules and optimisers after a step, and ZeRO's formulae for the rest."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from forgeline import plugins
from forgeline_architectures.optimisation.options import OptimizerConfig
from forgeline_architectures.tasks.lightning_import import SingleDeviceStrategy, Trainer
from forgeline_jobs.train.plan.counting import size_of
from forgeline_jobs.train.plan.model_states import (
    STRATEGIES,
    ModelSize,
    OptimizerState,
    Parameter,
    Precision,
    Strategy,
    deepspeed_estimate,
    model_states,
    share,
)

ADAMW = OptimizerState.of(OptimizerConfig(name="adamw"))
DDP = Strategy(name="ddp")
FSDP = Strategy(name="fsdp")
ZERO = {stage: Strategy(name="deepspeed", zero_stage=stage) for stage in (1, 2, 3)}
TABLE = {
    "task": "classification",
    "inputs": {"numeric": {"shape": [5], "dtype": "float32"}},
    "outputs": [3],
}
MLP = {"name": "mlp", "hidden": [16, 7], "norm": "batch"}


def built(optimizer: dict[str, Any], **options: Any) -> Any:
    family: Any = plugins.find(plugins.ARCHITECTURES, "mlp", key="name")
    return family.build_module(MLP, TABLE, {"optimizer": optimizer, "total_steps": 5, **options})


def stepped(module: Any, precision: Any) -> Trainer:
    trainer = Trainer(
        strategy=SingleDeviceStrategy(device="cpu"),
        accelerator="cpu",
        devices=1,
        precision=precision,
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batch = {"numeric": torch.randn(8, 5), "target": torch.arange(8) % 3}
    trainer.fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
    return trainer


def state_bytes(optimizers: Any) -> int:
    return sum(
        value.nbytes
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize(
    "optimizer",
    [{"name": "adamw"}, {"name": "sgd", "momentum": 0.9}, {"name": "sgd", "momentum": 0.0}, {"name": "rmsprop"}],
    ids=["adamw", "momentum", "sgd", "rmsprop"],
)
def test_one_worker_has_the_bytes_of_a_real_step(optimizer: dict[str, Any], precision: Precision) -> None:
    module = built(optimizer, freeze=("hidden.0.*",) if optimizer["name"] == "adamw" else (), ema=0.9)
    told = model_states(
        size_of(module),
        OptimizerState.of(OptimizerConfig.model_validate(optimizer)),
        precision=precision,
        strategy=DDP,
        workers=1,
    )
    trainer = stepped(module, precision)
    assert told.weights == sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
    assert told.gradients == sum(each.grad.nbytes for each in module.parameters() if each.grad is not None)
    assert told.optimizer == state_bytes(trainer.optimizers)
    averages = {id(tensor): tensor.nbytes for tensor in module.ema.averages().values()}
    assert told.averages == sum(averages.values())


def test_the_module_is_counted_without_memory_for_its_weights() -> None:
    with torch.device("meta"):
        assert size_of(built({"name": "adamw"})) == size_of(built({"name": "adamw"}))
    assert size_of(built({"name": "adamw"})).total == sum(p.numel() for p in built({}).parameters())


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_fsdp_shares_rows_as_torch_does(workers: int) -> None:
    """On the first of so many workers, whose messages go nowhere; its shard is real."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=workers, store=FakeStore())
    try:
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        size = ModelSize(parameters=[Parameter(elements=p.numel(), rows=p.shape[0]) for p in model.parameters()])
        fully_shard(model, mesh=init_device_mesh("cpu", (workers,)))
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.randn(4, 5)).sum().backward()
        optimizer.step()
        told = model_states(size, ADAMW, precision="32-true", strategy=FSDP, workers=workers)
        local = [p for p in model.parameters() if isinstance(p, DTensor)]
        assert len(local) == 4
        assert told.weights == sum(p.to_local().nbytes for p in local)
        assert told.gradients == sum(p.grad.to_local().nbytes for p in local if isinstance(p.grad, DTensor))
        states = [value for state in optimizer.state.values() for value in state.values()]
        assert told.optimizer == sum((v.to_local() if isinstance(v, DTensor) else v).nbytes for v in states)
    finally:
        distributed.destroy_process_group()


def flat(elements: int) -> ModelSize:
    return ModelSize(parameters=[Parameter(elements=elements, rows=elements)])


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_zero_is_the_papers(workers: int) -> None:
    """Figure 1: 7.5 billion parameters, K = 12."""
    n = 7_500_000_000
    told = [
        model_states(flat(n), ADAMW, precision="16-mixed", strategy=ZERO[stage], workers=workers).device
        for stage in (1, 2, 3)
    ]
    assert told == [4 * n + 12 * share(n, workers), 2 * n + 14 * share(n, workers), 16 * share(n, workers)]


def test_zero_of_one_worker_is_ddp_at_mixed_precision() -> None:
    """16 bytes a parameter, though they are other ones; DDP counts the steps of each tensor besides."""
    ddp = model_states(flat(1000), ADAMW, precision="bf16-mixed", strategy=DDP, workers=1)
    assert ddp.device == 16 * 1000 + 4
    for strategy in ZERO.values():
        zero = model_states(flat(1000), ADAMW, precision="bf16-mixed", strategy=strategy, workers=1)
        assert zero.device == 16 * 1000


SIZES = st.lists(
    st.builds(
        lambda rows, columns, trained: Parameter(elements=rows * columns, rows=rows, trained=trained),
        st.integers(1, 50),
        st.integers(1, 50),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
).map(lambda parameters: ModelSize(parameters=tuple(parameters)))
PRECISIONS = st.sampled_from(["32-true", "bf16-mixed", "16-mixed", "bf16-true"])


@settings(deadline=None)
@given(elements=st.integers(0, 10**12), workers=st.integers(1, 10**4))
def test_shares_hold_everything_and_waste_less_than_one_each(elements: int, workers: int) -> None:
    assert elements <= share(elements, workers) * workers < elements + workers


@settings(deadline=None)
@given(size=SIZES, precision=PRECISIONS, strategy=st.sampled_from(STRATEGIES))
def test_more_workers_never_need_more_each(size: ModelSize, precision: Precision, strategy: Strategy) -> None:
    told = [
        model_states(size, ADAMW, precision=precision, strategy=strategy, workers=workers)
        for workers in (1, 2, 3, 5, 8, 100)
    ]
    for fewer, more in pairwise(told):
        assert more.device <= fewer.device and more.host <= fewer.host


@settings(deadline=None)
@given(size=SIZES, precision=PRECISIONS, workers=st.integers(1, 64))
def test_what_is_shared_out_is_there_all_together(size: ModelSize, precision: Precision, workers: int) -> None:
    for strategy in STRATEGIES:
        alone = model_states(size, ADAMW, precision=precision, strategy=strategy, workers=1)
        each = model_states(size, ADAMW, precision=precision, strategy=strategy, workers=workers)
        for kind in ("weights", "gradients", "optimizer", "host"):
            assert getattr(each, kind) * workers >= getattr(alone, kind)


@settings(deadline=None)
@given(size=SIZES, precision=PRECISIONS, workers=st.integers(1, 64))
def test_a_later_stage_never_needs_more(size: ModelSize, precision: Precision, workers: int) -> None:
    """But for what stage 3 rounds up of each tensor."""
    rounding = 20 * len(size.parameters)
    one, two, three = (
        model_states(size, ADAMW, precision=precision, strategy=ZERO[stage], workers=workers).device
        for stage in (1, 2, 3)
    )
    assert two <= one and three <= two + rounding


@settings(deadline=None)
@given(size=SIZES, workers=st.integers(1, 64))
def test_offloading_moves_bytes_to_the_host(size: ModelSize, workers: int) -> None:
    moved = Strategy(name="deepspeed", zero_stage=2, offload="optimizer")
    here = model_states(size, ADAMW, precision="bf16-mixed", strategy=ZERO[2], workers=workers)
    there = model_states(size, ADAMW, precision="bf16-mixed", strategy=moved, workers=workers)
    assert (there.weights, there.gradients, there.optimizer) == (here.weights, 0, 0)
    assert there.host == 16 * share(size.trainable, workers)


@pytest.mark.parametrize(("elements", "workers"), [(1_000_003, 1), (124_439_808, 8), (7_500_000_000, 64)])
def test_deepspeeds_estimates_are_deepspeeds(elements: int, workers: int) -> None:
    told = estimators()
    layer = elements // 10
    assert deepspeed_estimate(elements, stage=1, workers=workers) is None
    assert (
        deepspeed_estimate(elements, stage=2, workers=workers)
        == told["zero2"](elements, num_gpus_per_node=workers, cpu_offload=False)[1]
    )
    assert (
        deepspeed_estimate(elements, stage=3, workers=workers, largest_layer=layer)
        == told["zero3"](elements, layer, num_gpus_per_node=workers, cpu_offload=False)[1]
    )


@cache
def estimators() -> dict[str, Any]:
    """DeepSpeed's functions out of its own files: importing it takes seconds and sets variables."""
    found = find_spec("deepspeed")
    if found is None or found.origin is None:
        pytest.skip("DeepSpeed is not installed")
    folder = Path(found.origin).parent / "runtime" / "zero"
    names = {"zero2": ("stage_1_and_2.py", "estimate_zero2_model_states_mem_needs")}
    names["zero3"] = ("stage3.py", "estimate_zero3_model_states_mem_needs")
    told: dict[str, Any] = {}
    for key, (file, name) in names.items():
        tree = ast.parse((folder / file).read_text(encoding="utf-8"))
        [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        space: dict[str, Any] = {}
        exec(compile(ast.Module([function], type_ignores=[]), file, "exec"), space)
        told[key] = space[name]
    return told
