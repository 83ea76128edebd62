"""The plan of a spec, from Python: figures that agree with one another, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import forgeline as fl
from forgeline.cli.app import main
from forgeline.errors import SpecError, UsageError
from forgeline.ledger.ledger import Ledger
from forgeline.settings import settings
from forgeline.spec.loading import load
from forgeline.tracking.tracker import Point, Tracker

pytestmark = pytest.mark.usefixtures("home")

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16]},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"epochs": 4, "accumulate": 2},
    "resources": {"workers": 2},
}
GPT = {
    "architecture": {"name": "gpt", "layers": 2, "heads": 2, "width": 64, "context": 32},
    "data": {"name": "tinyshakespeare", "batch_size": 8, "context": 32},
    "trainer": {"steps": 100, "precision": "bf16-mixed"},
    "resources": {"workers": 4, "gpus_per_worker": 1},
}


def planned(changes: Mapping[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    return dict(fl.plan(load({**WINE, **(changes or {})}), **asked).data)


def test_everything_is_told_and_adds_up(home: Path) -> None:
    told = planned(throughput=50.0)
    assert json.loads(json.dumps(told)) == told
    assert told["parameters"] == {"total": 13 * 16 + 16 + 16 * 3 + 3, "trainable": 275}
    assert told["batch"] == {"global": 16, "each": 8, "accumulate": 2}
    assert told["samples"] == told["steps"]["total"] * 32
    assert told["estimate"]["seconds"] == told["samples"] / 50.0
    for row in told["memory"]:
        parts = ("weights", "gradients", "optimizer", "averages", "activations")
        assert row["total"] == sum(row[part] for part in parts)
    ddp = told["memory"][0]
    assert (ddp["strategy"], ddp["weights"], ddp["optimizer"]) == ("ddp", 4 * 275, 8 * 275 + 4 * 4)
    assert told["device"]["name"] == "CPU"
    assert (told["auto"]["strategy"], told["auto"]["micro_batch"]) == ("ddp", 8)
    assert list(home.iterdir()) == []


def test_a_gpu_is_planned_for_with_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGELINE_GPU_PRICES", '{"H100": 3}')
    told = planned(GPT, gpu="h100", throughput=1.0)
    assert told["device"]["name"] == "H100"
    assert told["estimate"]["gpu_hours"] == pytest.approx(4 * 800 / 3600)
    assert told["estimate"]["cost"] == pytest.approx(3 * 4 * 800 / 3600)
    rows = {(row["strategy"], row["zero_stage"], row["offload"]): row for row in told["memory"]}
    assert len(rows) == 9
    size = told["parameters"]["total"]
    zero2 = rows["deepspeed", 2, "none"]
    share = -(-size // 4)
    assert (zero2["weights"], zero2["gradients"], zero2["optimizer"]) == (2 * size, 2 * share, 12 * share)
    assert zero2["deepspeed_estimator"] == 2 * size + int(18 * size / 4)
    # Autocast keeps casts of the weights besides; DeepSpeed's weights are of 16 bits themselves.
    assert rows["ddp", None, "none"]["activations"] > zero2["activations"]


def test_a_small_gpu_gets_another_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["label"]: row["total"] for row in planned(GPT, gpu="T4")["memory"]}
    between = (rows["ddp"] + rows["deepspeed zero 3"]) // 2
    monkeypatch.setenv("FORGELINE_GPU_MEMORY", json.dumps({"small": between, "tiny": "1kB"}))
    told = planned(GPT, gpu="small")
    assert told["auto"]["memory"] <= told["device"]["usable"] < rows["ddp"]
    assert told["auto"]["micro_batch"] * told["auto"]["pieces"] == 2
    named = {row["name"]: row for row in told["gpus"]}
    assert named["tiny"]["auto"] is None
    assert named["H200"]["auto"]["strategy"] == "ddp"


def test_the_command_shows_facts_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    specs = Path(__file__).parents[4] / "jobs" / "specs"
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(specs / "breast-cancer.yaml"), "--throughput", "100"])
    shown = capsys.readouterr()
    assert (ended.value.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert any(line.startswith("throughput") and "100.0 samples/s, from --throughput" in line for line in lines)
    assert any(line.startswith("deepspeed zero 2 ") for line in lines)
    assert any(line.startswith("H100 ") for line in lines)


def test_a_gpu_that_nobody_knows_is_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    told = fl.plan(load({**WINE, **GPT}))
    assert told.data["device"] is None and told.data["auto"] is None and told.data["estimate"] is None
    assert ("time", "unknown: nothing like it was measured; --throughput gives the samples a second") in told.facts


def test_what_is_averaged_is_not_shared_out() -> None:
    told = planned({"trainer": {"epochs": 1, "ema": 0.9}})
    assert [row["strategy"] for row in told["memory"]] == ["ddp"]
    assert told["memory"][0]["averages"] == 4 * 275


@pytest.mark.parametrize(
    ("changes", "left", "why"),
    [
        ({"trainer": {"epochs": 1, "compile": True}}, {"ddp"}, "trainer.compile"),
        (GPT | {"trainer": {"steps": 9, "precision": "16-mixed"}}, {"ddp", "deepspeed"}, "scales no loss"),
        (
            {"architecture": {"name": "dbn", "hidden": [8]}, "data": {"name": "digits", "task": "generation"}},
            {"ddp"},
            "weights of dbn are not shared out",
        ),
    ],
    ids=["compiled", "16-mixed", "staged"],
)
def test_a_strategy_that_a_run_would_be_refused_with_is_not_planned_for(
    changes: Mapping[str, Any], left: set[str], why: str
) -> None:
    plan = fl.plan(load({**WINE, **changes}), throughput=1.0, gpu="T4")
    assert {row["strategy"] for row in plan.data["memory"]} == left
    assert any("is left out, since it would be refused" in note and why in note for note in plan.notes)


@pytest.mark.parametrize(
    "strategy", ["ddp", "fsdp", {"name": "deepspeed", "zero_stage": 3, "offload": {"optimizer": "cpu"}}]
)
def test_the_strategy_of_the_spec_is_marked(strategy: Any) -> None:
    plan = fl.plan(load({**WINE, "strategy": strategy}))
    [own] = [row for row in plan.data["memory"] if row["own"]]
    assert own["strategy"] == plan.data["strategy"]["name"] == (strategy if isinstance(strategy, str) else "deepspeed")
    [told] = [fact for name, fact in plan.facts if name == "strategy"]
    assert told.startswith(f"{own['label']}: ") and told.endswith("which fits CPU")


def test_auto_takes_the_whole_batch_and_what_fits_with_it() -> None:
    free = planned({"strategy": "auto"})
    assert free["auto"]["strategy"] == "ddp" and free["auto"]["taken"]
    assert not planned()["auto"]["taken"]
    needed = {row["label"]: row["total"] for row in free["memory"]}
    tight = {"workers": 2, "memory_per_worker": f"{int((needed['ddp'] - 1) / 0.9)}B"}
    told = planned({"strategy": "auto", "resources": tight})["auto"]
    assert (told["strategy"], told["micro_batch"], told["pieces"]) == ("deepspeed", 8, 1)
    assert told["zero_stage"] == 1 and told["why"].startswith("ddp would not fit")


def test_cpus_are_not_offered_what_is_kept_on_the_host() -> None:
    """It is the same memory, sent about."""
    needed = {row["label"]: row["total"] for row in planned()["memory"]}
    least = min(total for label, total in needed.items() if "host" not in label)
    tight = {"workers": 2, "memory_per_worker": f"{int((least - 1) / 0.9)}B"}
    assert planned({"strategy": "auto", "resources": tight})["auto"] is None


def test_a_range_of_workers_is_planned_for_with_the_fewest_that_share_a_batch() -> None:
    plan = fl.plan(load({**WINE, "resources": {"workers": "3..8"}}))
    assert (plan.data["workers"], plan.data["worker_counts"]) == (4, [4, 8])
    assert plan.data["memory"] == planned({"resources": {"workers": 4}})["memory"]
    assert any("of 3..8 workers the run takes 4, 8; planned with 4" in note for note in plan.notes)


def test_a_micro_batch_is_what_memory_is_told_of() -> None:
    whole, pieces = planned(), fl.plan(load(WINE, set={"trainer.micro_batch": 2}))
    first, smaller = whole["memory"][0], pieces.data["memory"][0]
    assert (first["weights"], first["optimizer"]) == (smaller["weights"], smaller["optimizer"])
    assert first["activations"] > 3 * smaller["activations"] > 0
    assert any(name == "batch" and value.endswith(", in micro-batches of 2") for name, value in pieces.facts)


def test_settings_that_no_row_has_are_said_to_be_none() -> None:
    plan = fl.plan(load({**WINE, **GPT, "strategy": {"name": "fsdp", "tensor_parallel": 2}}), gpu="H100")
    assert ("strategy", "fsdp, whose settings are not planned for") in plan.facts
    assert not any(row["own"] for row in plan.data["memory"])


def test_norms_over_samples_are_given_several() -> None:
    """ResNet's last norm sees one pixel a sample of small pictures, and refuses a single sample."""
    told = planned({"architecture": {"name": "test_resnet"}, "data": {"name": "digits", "batch_size": 16}})
    assert told["activations"][0]["counted"] == "saved tensors of a forward pass on fake tensors"


@pytest.mark.parametrize(
    "changes",
    [
        {  # a step that looks at values
            "architecture": {"name": "seq2seq", "hidden": 8},
            "data": {"name": "reverse-copy", "batch_size": 16},
            "trainer": {"steps": 2},
        },
        {  # steps of two optimisers
            "architecture": {"name": "gan", "hidden": [8]},
            "data": {"name": "gaussians25", "batch_size": 16},
            "trainer": {"steps": 2},
        },
    ],
    ids=["seq2seq", "gan"],
)
def test_a_step_that_needs_numbers_is_taken(changes: Mapping[str, Any]) -> None:
    told = planned(changes)
    assert told["activations"][0]["counted"] == "saved tensors of a step on the CPU"
    assert told["memory"][0]["activations"] > 0


def test_the_zoos_own_measurement_is_used_where_it_is_of_the_same_model() -> None:
    told = fl.plan("jobs/specs/zoo/lenet.yaml").data["estimate"]
    assert "a core measured for lenet.yaml" in told["source"]
    assert told["gpu_hours"] == 0 and told["cpu_hours"] > 0


def test_an_earlier_run_tells_the_throughput() -> None:
    environment = settings()
    environment.ensure_home()
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
    run_id = tracker.create_run("earlier", "wine")
    now = int(datetime.now(UTC).timestamp() * 1000)
    rates = [1.0, 90.0, 100.0, 110.0]
    tracker.log_points(
        run_id,
        [Point(key="train/samples_per_s", value=rate, step=step, time_ms=now) for step, rate in enumerate(rates)],
    )
    spec = load({**WINE, "resources": {"workers": 1}, "trainer": {"epochs": 1}}).text
    Ledger(environment.resolved_ledger_url).create_run(id=run_id, name="wine", kind="train", spec=spec)
    told = planned()["estimate"]
    assert told["samples_per_s"] == 200.0
    assert told["source"] == f"run {run_id[:8]} (wine) on 1 workers, taken to scale linearly"
    assert planned(throughput=7.0)["estimate"]["source"] == "--throughput"
    assert planned({"architecture": {"name": "mlp", "hidden": [17]}})["estimate"] is None


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_throughput_is_a_positive_number(rate: float) -> None:
    with pytest.raises(UsageError, match="--throughput: got"):
        planned(throughput=rate)


def test_what_is_wrong_is_refused_as_before_a_run() -> None:
    with pytest.raises(UsageError, match="--gpu: got 'H1000'"):
        planned(gpu="H1000")
    with pytest.raises(SpecError, match=r"data\.batch_size to at most"):
        planned({"data": {"name": "wine", "batch_size": 1000}})
