"""The drift job on 100,000 rows of 100 columns: `check_data` against Evidently's preset, on the same rows.

    pip install evidently
    python -m benchmarks.drift_report                      # writes benchmarks/results/drift_report.json

Each side is a process of its own, in turns, which imports what it needs, and reads the new rows and the reference
before the clock starts: a bundle on one side, on the other the 100,000 training rows, which Evidently compares with.
What is timed compares all columns; of ours, also with predicting, and from the Parquet file instead of the rows in
memory. Memory is how far the process's peak rises above what it held before. Figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import results_file

ROWS, COLUMNS, ROUNDS = 100_000, 100, 3
GOALS = {"speed": 8.0, "memory": 1 / 3}
OURS, PREDICTING, FROM_FILE, THEIRS = (
    "check_data",
    "check_data, predicting",
    "check_data, from Parquet",
    "Evidently DataDriftPreset",
)
SHIFTED, SHIFT = 10, 0.1


def rows(seed: int, *, shift: float = 0.0) -> pd.DataFrame:
    """Normal columns, of which the first ten may be shifted."""
    values = np.random.default_rng(seed).normal(size=(ROWS, COLUMNS))
    values[:, :SHIFTED] += shift
    return pd.DataFrame(values, columns=[f"x{number}" for number in range(COLUMNS)])


def prepare(folder: Path) -> None:
    """The rows of both sides, and a bundle of a fresh network for the rows of the reference."""
    from forgeline import plugins
    from forgeline.bundle import Bundle, Reference
    from forgeline.preprocessing import ClassTarget, TablePreprocessing

    train = rows(0)
    train.to_parquet(folder / "reference.parquet")
    rows(1, shift=SHIFT).to_parquet(folder / "new.parquet")
    preprocessing = TablePreprocessing.fit(
        train, numeric=list(train.columns), categorical=[], target=ClassTarget(name="y", classes=("a", "b"))
    )
    signature = {
        "task": "classification",
        "inputs": {"numeric": {"shape": [preprocessing.width], "dtype": "float32"}},
        "cardinalities": [],
        "outputs": [2],
    }
    architecture = {"name": "mlp", "hidden": [64, 64]}
    descriptor: Any = plugins.find(plugins.ARCHITECTURES, "mlp", key="architecture.name")
    saved: dict[str, Any] = {
        "model_state": descriptor.build_model(architecture, signature).state_dict(),
        "architecture": architecture,
        "signature": signature,
        "preprocessing": preprocessing,
    }
    arrays = preprocessing.encode(train)
    outputs = Bundle.save(folder / "bare", **saved).outputs(arrays)
    Bundle.save(folder / "bundle", **saved, reference=Reference.of(preprocessing, [arrays], outputs))


def side(name: str, folder: Path) -> dict[str, Any]:
    """Runs in a process of its own."""
    job = _theirs(folder) if name == THEIRS else _ours(name, folder)
    peak = Peak()
    started = time.perf_counter()
    with peak:
        drifted = job()
    return {"seconds": time.perf_counter() - started, "mib": peak.mib, "drifted": drifted}


def _ours(name: str, folder: Path) -> Callable[[], int]:
    from forgeline.bundle import Bundle
    from forgeline_deploy.drift import check_data

    bundle = Bundle.load(folder / "bundle")
    outputs = name == PREDICTING
    assert bundle.reference is not None
    if outputs:
        _ = bundle.model
    new: Any = folder / "new.parquet" if name == FROM_FILE else pd.read_parquet(folder / "new.parquet")
    return lambda: len(check_data(bundle, new, outputs=outputs).drifted)


def _theirs(folder: Path) -> Callable[[], int]:
    import pandas.core.dtypes.common as pandas_types

    # Evidently 0.7.23 imports a function that pandas 3 no longer has, for tests of types that the preset does not make.
    if not hasattr(pandas_types, "infer_dtype_from_object"):
        pandas_types.infer_dtype_from_object = None  # type: ignore[attr-defined]
    from evidently import Report
    from evidently.presets import DataDriftPreset

    reference, new = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "new"))

    def job() -> int:
        found = Report([DataDriftPreset()]).run(new, reference)
        [count] = [one for one in found.dict()["metrics"] if one["metric_name"].startswith("DriftedColumnsCount")]
        return int(count["value"]["count"])

    return job


class Peak:
    """How far a process's memory rises above what it holds at the beginning."""

    def __enter__(self) -> Peak:
        self._start, self._most, self._over = _resident(), 0, threading.Event()
        self._highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._most = max(self._most, _resident())
        # The system's own mark of the highest it ever was counts where it was set after the beginning.
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.mib = (max(self._most, highest if highest > self._highest else 0) - self._start) / 2**20

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._most = max(self._most, _resident())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def measured(rounds: int) -> dict[str, Any]:
    """Both sides in turns, and what came of it."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, PREDICTING, FROM_FILE, THEIRS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for _ in range(rounds):
            for one, results in taken.items():
                command = [sys.executable, "-m", "benchmarks.drift_report", "--side", one, "--folder", name]
                done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=results_file.ROOT)
                results.append(json.loads(done.stdout.splitlines()[-1]))
                print(one, results[-1], flush=True)
    sides = {
        name: {key: round(statistics.median(result[key] for result in results), 3) for key in results[0]}
        for name, results in taken.items()
    }
    ours, theirs = sides[OURS], sides[THEIRS]
    found = {
        "speed": theirs["seconds"] / ours["seconds"],
        "memory": ours["mib"] / theirs["mib"],
        "memory_from_file": sides[FROM_FILE]["mib"] / theirs["mib"],
    }
    return {
        "metric": "times as fast, and share of the memory",
        "rows": ROWS,
        "columns": COLUMNS,
        "shifted": SHIFTED,
        "rounds": rounds,
        **{key: round(value, 3) for key, value in found.items()},
        "speed_predicting": round(theirs["seconds"] / sides[PREDICTING]["seconds"], 3),
        "goals": GOALS,
        "sides": sides,
        "met": found["speed"] >= GOALS["speed"] and max(found["memory"], found["memory_from_file"]) <= GOALS["memory"],
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--side")
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    given = arguments.parse_args()
    if given.side:
        print(json.dumps(side(given.side, given.folder)))
        return
    row = results_file.stamped(measured(given.rounds))
    print(json.dumps(row, indent=1))
    print(results_file.write("drift_report", {"100,000 rows x 100 columns": row}))
    raise SystemExit(0 if row["met"] else 1)


if __name__ == "__main__":
    main()
