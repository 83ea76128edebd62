"""What fits a device, and how long it takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.errors import UsageError
from forgeline.settings import Settings
from forgeline.spec.envelope import Resources
from forgeline_jobs.train.plan.activation_count import ActivationCount
from forgeline_jobs.train.plan.choice import Need, choose, divisors
from forgeline_jobs.train.plan.devices import Device, gpu_named, known_gpus
from forgeline_jobs.train.plan.estimate import Rate, estimate
from forgeline_jobs.train.plan.model_states import ModelStates, Strategy


def need(name: str, states: int, *, per_sample: int = 10) -> Need:
    count = ActivationCount(fewer=1, fewer_bytes=per_sample, more=2, more_bytes=2 * per_sample, how="told")
    strategy = Strategy(name="ddp") if name == "ddp" else Strategy(name="deepspeed", zero_stage=int(name))
    return Need(strategy=strategy, states=ModelStates(weights=states, gradients=0, optimizer=0), activations=count)


NEEDS = [need("ddp", 100), need("1", 60), need("2", 40)]


@pytest.mark.parametrize(
    ("usable", "strategy", "micro_batch"),
    [(1000, "ddp", 12), (160, "ddp", 6), (110, "ddp", 1), (109, "deepspeed zero 1", 4), (50, "deepspeed zero 2", 1)],
)
def test_the_least_sending_then_the_largest_micro_batch(usable: int, strategy: str, micro_batch: int) -> None:
    found = choose(NEEDS, usable=usable, each=12)
    assert found is not None
    assert (str(found.need.strategy), found.micro_batch) == (strategy, micro_batch)
    assert found.pieces * found.micro_batch == 12
    assert found.device <= usable


def test_nothing_fits() -> None:
    assert choose(NEEDS, usable=49, each=12) is None
    assert choose(NEEDS, usable=69, each=12, fewest=4) is None  # where norms take four samples or more


def test_the_reason_names_what_was_passed_over() -> None:
    found = choose(NEEDS, usable=55, each=12)
    assert found is not None
    assert found.why == (
        "ddp, deepspeed zero 1 would not fit; of those that fit it sends least; 1 is the largest part of the worker's "
        "12 samples that fits"
    )


@settings(deadline=None)
@given(number=st.integers(1, 2000), fewest=st.integers(1, 50))
def test_divisors_divide_and_fall(number: int, fewest: int) -> None:
    found = list(divisors(number, fewest))
    assert found[0] == number and all(number % each == 0 for each in found)
    assert all(more > less >= fewest for more, less in pairwise(found))


def test_gpus_are_known_by_name_and_own_ones_are_declared() -> None:
    declared = Settings.model_validate({"gpu_memory": {"RTX 4090": "24GiB", "T4": "8GiB"}})
    assert gpu_named("rtx 4090", declared) == Device(name="RTX 4090", memory=24 * 2**30)
    assert gpu_named("T4", declared).memory == 8 * 2**30
    assert [gpu.name for gpu in known_gpus(declared)][0] == "T4"
    with pytest.raises(UsageError, match="--gpu: got 'H1000'.*H100") as caught:
        gpu_named("H1000", declared)
    assert caught.value.exit_code == 2


def test_time_and_money() -> None:
    resources = Resources(workers=4, gpus_per_worker=2, cpus_per_worker=3)
    rate = Rate(samples_per_s=100.0, source="told")
    told = estimate(samples=720_000, rate=rate, resources=resources, price=2.5)
    assert (told.seconds, told.gpu_hours, told.cpu_hours, told.cost) == (7200.0, 16.0, 24.0, 40.0)
    assert estimate(samples=1, rate=rate, resources=resources, price=None).cost is None
    assert estimate(samples=1, rate=rate, resources=Resources(), price=2.5).cost is None
