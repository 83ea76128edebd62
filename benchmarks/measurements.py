"""What each model of the zoo costs: parameters, multiply-adds, memory of a training step, and training throughput.

    python -m benchmarks.measurements           # rows that are missing
    python -m benchmarks.measurements --again   # all rows
    python -m benchmarks.measurements mlp vae   # these specs again

Writes architectures/forgeline_architectures/measurements.json, which `forgeline architectures list` and `show` read.
One process per spec, one thread; its processor time is counted, so that other work on the host does not. Multiply-adds
are half of what torch's FlopCounterMode counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from benchmarks.published import PUBLISHED
from benchmarks.results_file import machine
from forgeline import plugins
from forgeline.spec.loading import load

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "jobs" / "specs" / "zoo"
FILE = ROOT / "architectures" / "forgeline_architectures" / "measurements.json"
SECONDS = 6.0
WARM_UP_STEPS = 2


def main() -> int:
    """Measure what is asked for and write the file after each row; 1 when a spec could not be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", help="names of specs in jobs/specs/zoo, or of published models")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_measured(arguments.one)))
        return 0
    rows = {_key(row): row for row in json.loads(FILE.read_text(encoding="utf-8"))["rows"]} if FILE.exists() else {}
    names = [*sorted(path.stem for path in SPECS.glob("*.yaml")), *PUBLISHED]
    rows = {name: row for name, row in rows.items() if name in names}
    failed = []
    for name in names:
        if name in arguments.specs or arguments.again or (name not in rows and not arguments.specs):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.measurements", "--one", name],
                cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
            if done.returncode:  # what it starts from is not here, say
                failed.append(name)
                continue
            rows[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, rows[name], flush=True)
            ordered = [rows[each] for each in names if each in rows]
            FILE.write_text(json.dumps({"machine": machine(), "rows": ordered}, indent=1) + "\n", encoding="utf-8")
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _key(row: Mapping[str, Any]) -> str:
    return Path(row["spec"]).stem if row["spec"] else str(row["model"])


def _measured(name: str) -> dict[str, Any]:
    return _published(name) if name in PUBLISHED else _of_spec(SPECS / f"{name}.yaml")


def _published(name: str) -> dict[str, Any]:
    """Parameters and multiply-adds of a published configuration, without any memory for its weights."""
    import torch

    architecture, signature = PUBLISHED[name].architecture, PUBLISHED[name].signature
    family = _family(architecture["name"])
    with torch.device("meta"):
        model = family.build_model(architecture, signature).eval()
        batch = {
            key: torch.empty((1, *spec["shape"]), dtype=getattr(torch, spec["dtype"]))
            for key, spec in signature["inputs"].items()
        }
    return {
        "model": name,
        "family": family.name,
        "spec": None,
        "task": signature["task"],
        "inputs": _in_words(signature["inputs"]),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "multiply_adds": _multiply_adds(lambda: model(batch)),
        "memory_bytes": None,
        "samples_per_s": None,
    }


def _of_spec(path: Path) -> dict[str, Any]:
    import torch

    from forgeline_jobs.data.base import as_int64
    from forgeline_jobs.train.preparation import prepare

    spec: Any = load(path).spec
    data = prepare(spec.data)
    signature = data.signature.model_dump(mode="json")
    family = _family(spec.architecture.name)
    torch.manual_seed(0)
    config = spec.architecture.model_dump(mode="json")
    model = family.build_model(config, signature).eval()
    arrays = data.splits["train"].batch(as_int64([0]))
    one = {name: torch.from_numpy(array) for name, array in arrays.items()}
    memory, rate = Training(spec, data, family).measured()
    return {
        "model": spec.architecture.name,
        "family": family.name,
        "spec": path.name,
        "task": data.signature.task,
        "inputs": _in_words(signature["inputs"]),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "multiply_adds": _multiply_adds(_prediction(model, data.signature.task, one)),
        "memory_bytes": memory,
        "samples_per_s": rate,
    }


def _family(model: str) -> plugins.ArchitectureDescriptor:
    found = plugins.find(plugins.ARCHITECTURES, model, key="architecture.name")
    return cast("plugins.ArchitectureDescriptor", found)


def _prediction(model: Any, task: str, one: Mapping[str, Any]) -> Callable[[], Any]:
    if task != "generation":
        return lambda: model(one)
    import torch

    condition = {name: one[name] for name in ("label", "caption", "source") if name in one}
    return lambda: model.sample(1, condition, generator=torch.Generator().manual_seed(0), options={})


def _multiply_adds(call: Callable[[], Any]) -> int | None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # oneDNN's recurrent layers are one operation that nobody counts; without it they are matrix products.
    with (
        warnings.catch_warnings(action="ignore"),  # of TF32, which the flags mention
        torch.backends.mkldnn.flags(enabled=False),
        torch.no_grad(),  # the counter cannot follow a weight into a parametrisation in inference mode
        FlopCounterMode(display=False) as counter,
    ):
        call()
    return counter.get_total_flops() // 2 or None


def _in_words(inputs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, spec['shape']))}".strip() for name, spec in inputs.items())


class Training:
    """A few seconds of the very training that a spec describes, in this process and on one core."""

    def __init__(self, spec: Any, data: Any, family: Any) -> None:
        options = {
            "optimizer": spec.optimizer.model_dump(mode="json"),
            "label_smoothing": spec.trainer.label_smoothing,
            "class_weights": data.class_weights,
            "total_steps": 10_000,
            "ema": spec.trainer.ema,
        }
        config, signature = (part.model_dump(mode="json") for part in (spec.architecture, data.signature))
        self.module = family.build_module(config, signature, options)
        self.spec = spec
        self.data = data
        self.kept = 0

    def measured(self) -> tuple[int, float]:
        """Bytes of a training step, and samples per second."""
        from forgeline_architectures.tasks.lightning_import import SingleDeviceStrategy, Trainer
        from forgeline_jobs.data.loader import train_loader

        clock = _clock()
        batch_size = min(self.spec.data.batch_size, len(self.data.splits["train"]))
        self._watch_saved_tensors()
        trainer = Trainer(
            strategy=SingleDeviceStrategy(device="cpu"), accelerator="cpu", devices=1, max_epochs=-1, callbacks=[clock],
            gradient_clip_val=self.spec.trainer.gradient_clip if self.module.automatic_optimization else None,
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(self.module, train_loader(self.data.splits["train"], batch_size))
        weights = sum(parameter.nbytes for parameter in self.module.parameters())
        learnt = sum(parameter.nbytes for parameter in self.module.parameters() if parameter.requires_grad)
        state = sum(
            value.nbytes for optimizer in trainer.optimizers for each in optimizer.state.values()
            for value in each.values() if hasattr(value, "nbytes")
        )  # fmt: skip
        return weights + learnt + state + self.kept, round(clock.batches * batch_size / clock.seconds, 1)

    def _watch_saved_tensors(self) -> None:
        import torch

        step = self.module.training_step
        own = {parameter.untyped_storage().data_ptr() for parameter in self.module.parameters()}

        def watched(batch: Any, batch_idx: int) -> Any:
            if self.kept:
                return step(batch, batch_idx)
            kept: dict[int, int] = {}

            def pack(tensor: Any) -> Any:
                with suppress(NotImplementedError, RuntimeError):  # sparse tensors have no storage
                    storage = tensor.untyped_storage()
                    kept[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                result = step(batch, batch_idx)
            self.kept = sum(size for place, size in kept.items() if place not in own)
            return result

        self.module.training_step = watched


def _clock() -> Any:
    from forgeline_architectures.tasks.lightning_import import Callback

    class Clock(Callback):
        """Counts batches after the first few, and stops training when it has seen enough."""

        def __init__(self) -> None:
            self.started = 0.0
            self.batches = 0
            self.seconds = 0.0
            self.seen = 0

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            self.seen += 1
            if self.seen <= WARM_UP_STEPS:
                self.started = time.process_time()
                return
            self.batches = self.seen - WARM_UP_STEPS
            self.seconds = time.process_time() - self.started
            trainer.should_stop = self.seconds > SECONDS

    return Clock()


if __name__ == "__main__":
    sys.exit(main())
