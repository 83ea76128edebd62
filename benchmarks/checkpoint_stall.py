"""How long training stands still for a checkpoint of 1 GB: ours, asynchronous or not, and torch's own, in one run.

    python -m benchmarks.checkpoint_stall               # writes benchmarks/results/checkpoint_stall.json

A model and its Adam moments in float32, 1 GB together. Each contender saves it in turn, with steps of real arithmetic
in between until nothing is written any more; the stall is the time that the training thread spends in the save. Ours
writes state.pt, syncs it and takes its sha256; `torch.save` and DCP (torch.distributed.checkpoint) sync nothing of
themselves, so the first is followed by an fsync. The order alternates; figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict_saver as dcp

from benchmarks import results_file
from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
from forgeline_jobs.train.strategies.saving import write_state

BYTES = 10**9
PARTS = 3  # weights and two moments
ASYNC, SYNC = "forgeline, asynchronous", "forgeline, synchronous"
TORCH_SAVE, DCP_ASYNC, DCP_SYNC = "torch.save and fsync", "torch DCP async_save", "torch DCP save"
GOAL = 0.2


def state() -> dict[str, Any]:
    """What a checkpoint holds."""
    numbers = BYTES // 4 // PARTS
    width = 4096
    rows = numbers // width // 16
    return {
        part: {f"layer{i}": torch.randn(rows, width) for i in range(16)} for part in ("weights", "mean", "variance")
    }


class Ours:
    """`CheckpointWriter`, as the callback of a run uses it."""

    def __init__(self, folder: Path, *, asynchronous: bool) -> None:
        self._folder = folder
        self._writer = CheckpointWriter(rank=0, writers=1, asynchronous=asynchronous)

    def save(self, content: Mapping[str, Any]) -> None:
        self._writer.take("state.pt", content, write_state)
        self._writer.start(self._folder, lambda digests: None)

    def finish(self) -> None:
        self._writer.wait()


class TorchSave:
    """One file, on the disk when it returns."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "state.pt"

    def save(self, content: Mapping[str, Any]) -> None:
        with self._file.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        pass


class DCP:
    """torch's own, which writes in threads of its own where it is asynchronous."""

    def __init__(self, folder: Path, *, asynchronous: bool) -> None:
        self._folder = folder
        self._asynchronous = asynchronous
        self._written: Any = None

    def save(self, content: Mapping[str, Any]) -> None:
        if self._asynchronous:
            self._written = dcp.async_save(dict(content), checkpoint_id=str(self._folder))
        else:
            dcp.save(dict(content), checkpoint_id=str(self._folder))

    def finish(self) -> None:
        if self._written is not None:
            self._written.result()


CONTENDERS: Mapping[str, Callable[[Path], Any]] = {
    ASYNC: lambda folder: Ours(folder, asynchronous=True),
    SYNC: lambda folder: Ours(folder, asynchronous=False),
    TORCH_SAVE: TorchSave,
    DCP_ASYNC: lambda folder: DCP(folder, asynchronous=True),
    DCP_SYNC: lambda folder: DCP(folder, asynchronous=False),
}


def measure(name: str, content: Mapping[str, Any], saves: int) -> dict[str, float]:
    """Median stall of the saves after the first, which allocates; and until all is on the disk."""
    stalls, whole = [], []
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        contender = CONTENDERS[name](Path(folder))
        for _ in range(saves + 1):
            started = time.perf_counter()
            contender.save(content)
            stalls.append(time.perf_counter() - started)
            contender.finish()
            whole.append(time.perf_counter() - started)
            for tensor in content["weights"].values():
                tensor.add_(1e-3)  # a step
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(exist_ok=True)
    return {
        "stall_s": statistics.median(stalls[1:]),
        "first_stall_s": stalls[0],
        "written_s": statistics.median(whole[1:]),
    }


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--saves", type=int, default=3)
    arguments = parser.parse_args()
    content = state()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(arguments.rounds):
        for name in list(CONTENDERS) if number % 2 == 0 else list(CONTENDERS)[::-1]:
            found[name].append(measure(name, content, arguments.saves))
            print(f"round {number + 1}: {name}: {found[name][-1]}", flush=True)
    median = {
        name: {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
        for name, rows in found.items()
    }
    ratios = {
        f"stall against {peer}": round(
            statistics.median(
                us["stall_s"] / them["stall_s"] for us, them in zip(found[ASYNC], found[peer], strict=True)
            ),
            3,
        )
        for peer in CONTENDERS
        if peer != ASYNC
    }
    row = {"bytes": BYTES, "median": median, "ratios": ratios, "goal": GOAL, "rounds": found}
    print(json.dumps({key: row[key] for key in ("median", "ratios")}, indent=1))
    print(f"wrote {results_file.write('checkpoint_stall', {'1 GB': row})}")


if __name__ == "__main__":
    main()
