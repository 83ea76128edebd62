"""Tokens a second, use of the GPU's arithmetic and peak memory of the GPT decoder, against plain PyTorch, in one run.

    python -m benchmarks.decoder_throughput 124M 1.3B     # on a GPU; writes benchmarks/results/decoder_throughput.json
    python -m benchmarks.decoder_throughput small         # on a CPU

Ours is `forgeline run` on a text of as many different characters as the vocabulary has; the peer is nanoGPT's loop
(benchmarks/peers/nano_gpt.py) at the same sizes, precision and batch. On a GPU both are compiled and compute in
bfloat16. The use of the arithmetic is tokens/s (6 N + 12 L h q T) over the GPU's peak (Chowdhery et al. 2022,
arXiv:2204.02311, appendix B); memory is the most that the GPU had taken, as its driver counts it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import forgeline as fl
from benchmarks import results_file
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader

STEPS, WARM_UP = 40, 15
PEAK_FLOPS: Mapping[str, float] = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # bfloat16, dense; data sheets
GOAL_MFU = 0.5
FIRST_CHARACTER = 0x4E00
SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, kw_only=True)
class Size:
    """A decoder, and how much of it a step takes."""

    layers: int
    heads: int
    width: int
    context: int
    vocabulary: int
    batch: int

    def flops_per_token(self, parameters: int) -> float:
        """Of the forward and backward pass (arXiv:2204.02311, equation in appendix B)."""
        return 6 * parameters + 12 * self.layers * self.width * self.context


SIZES: Mapping[str, Size] = {
    "small": Size(layers=4, heads=4, width=128, context=64, vocabulary=256, batch=12),
    "124M": Size(layers=12, heads=12, width=768, context=1024, vocabulary=50304, batch=32),
    "1.3B": Size(layers=24, heads=16, width=2048, context=1024, vocabulary=50304, batch=8),
}


def ours(size: Size) -> dict[str, float]:
    """`forgeline run`."""
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory(prefix="fl") as home:
        os.environ["FORGELINE_HOME"] = home
        text = Path(home) / "text.txt"
        text.write_text(_text(size), encoding="utf-8")
        with _peak_memory() as memory:
            run = fl.run(load(_spec(size, text, gpu=gpu)))
        if run.state != "succeeded":
            raise RuntimeError(f"{run.state}: {run.message}")
        rates = [
            line["values"]["train/samples_per_s"]
            for line in SpoolReader(run.paths.spool(attempt=1, rank=0)).read_new()
            if "train/samples_per_s" in line.get("values", {}) and line["step"] > WARM_UP
        ]
    return {"tokens_per_s": size.context / statistics.fmean(1 / rate for rate in rates), **memory()}


def peer(size: Size) -> dict[str, float]:
    """nanoGPT's loop."""
    command = [sys.executable, "benchmarks/peers/nano_gpt.py", "--steps", str(STEPS), "--warm-up", str(WARM_UP)]
    for name, value in vars(size).items():
        command += [f"--{name}", str(value)]
    command += ["--compile"] if torch.cuda.is_available() else []
    with _peak_memory() as memory:
        done = subprocess.run(command, cwd=results_file.ROOT, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), **memory()}


def _spec(size: Size, text: Path, *, gpu: bool) -> dict[str, Any]:
    architecture = {key: getattr(size, key) for key in ("layers", "heads", "width", "context")}
    trainer = {"precision": "bf16-mixed", "compile": True, "log_every": 5} if gpu else {}
    return {
        "kind": "train",
        "name": "decoder",
        "architecture": {"name": "gpt", "dropout": 0.0, **architecture},
        "data": {
            "name": "text", "path": str(text), "tokenizer": "character", "context": size.context,
            "batch_size": size.batch, "split": {"val": 0.05, "test": 0.05},
        },
        "optimizer": {"name": "adamw", "lr": 3e-4, "betas": [0.9, 0.95], "weight_decay": 0.1},
        "trainer": {"steps": STEPS, "gradient_clip": 1.0, "validate_every": f"{STEPS}step", **trainer},
        "checkpoint": {"select": "last"},
        "resources": {"cpus_per_worker": 2, "gpus_per_worker": int(gpu)},
    }  # fmt: skip


def _text(size: Size) -> str:
    """As many characters as the steps take and more, each of the vocabulary among them."""
    codes = (code for code in range(FIRST_CHARACTER, 0x110000) if code not in SURROGATES)
    alphabet = "".join(chr(next(codes)) for _ in range(size.vocabulary - 1))
    length = max(4 * size.batch * size.context, 40 * size.context, 4 * size.vocabulary)
    return (alphabet * (length // len(alphabet) + 1))[:length]


@contextmanager
def _peak_memory() -> Iterator[Callable[[], dict[str, float]]]:
    """The most that the GPU had taken meanwhile, in GiB; nothing without one."""
    if not torch.cuda.is_available():
        yield dict
        return
    import pynvml  # type: ignore[import-untyped]

    pynvml.nvmlInit()
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], pynvml.nvmlDeviceGetMemoryInfo(device).used)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield lambda: {"peak_memory_gib": round(peak[0] / 2**30, 2)}
    finally:
        over.set()
        watching.join()


def measure(size: Size, rounds: int) -> dict[str, Any]:
    """Both, in turns; medians and the ratio."""
    found: dict[str, list[dict[str, float]]] = {"forgeline": [], "nanoGPT's loop": []}
    for number in range(rounds):
        order = [("forgeline", ours), ("nanoGPT's loop", peer)]
        for name, one in order if number % 2 == 0 else order[::-1]:
            found[name].append(one(size))
            print(f"round {number + 1}: {name}: {found[name][-1]}", flush=True)
    mine, theirs = found.values()
    ratio = statistics.median(us["tokens_per_s"] / them["tokens_per_s"] for us, them in zip(mine, theirs, strict=True))
    speed = statistics.median(row["tokens_per_s"] for row in mine)
    parameters = int(theirs[0]["parameters"])
    peak = _peak_flops()
    return {
        "parameters": parameters,
        "tokens_per_s": round(speed, 1),
        "mfu": None if peak is None else round(speed * size.flops_per_token(parameters) / peak, 3),
        "goal_mfu": None if peak is None else GOAL_MFU,
        "ratios": {"tokens/s against nanoGPT's loop": round(ratio, 3)},
        "rounds": found,
    }


def _peak_flops() -> float | None:
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((flops for known, flops in PEAK_FLOPS.items() if known in name), None)


def main() -> None:
    """Measure the sizes that are asked for, print, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", default=["small"], choices=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rows = dict(results_file.read("decoder_throughput").get("rows", {}))
    for name in asked.sizes:
        rows[name] = measure(SIZES[name], asked.rounds)
        print(json.dumps({key: value for key, value in rows[name].items() if key != "rounds"}, indent=1))
        print(f"wrote {results_file.write('decoder_throughput', rows)}", flush=True)


if __name__ == "__main__":
    main()
