"""What counting a batch costs a serving replica, beside the batch's own encoding and beside NumPy's histograms.

    python -m benchmarks.observation                       # writes benchmarks/results/observation.json

Batches of 32 rows of a table of 100 columns with two classes. `observer` is what a replica adds to a request: columns
and outputs counted in the bins of the reference, and projections of the embedding; `hooks` is what it takes to see the
embedding in the pass that answers, of a network of three layers. `column by column` encodes nothing either, but asks
each column's reference for itself; `np.histogram` counts the same values in the same edges, and neither what is missing
or outside nor sums. All take turns in one process on one thread; figures are of the time on the clock.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks import results_file
from forgeline.bundle import Reference
from forgeline.bundle.embedding import Projections, projected
from forgeline.bundle.observer import Observer
from forgeline.bundle.reference_features import input_features
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.preprocessing import ClassTarget, TablePreprocessing

ROWS, COLUMNS, TRAIN_ROWS, ROUNDS, WIDTH = 32, 100, 20_000, 500, 64
BAR_MS = 0.5


def table(rows: int, *, numeric: int, seed: int) -> pd.DataFrame:
    """Normal columns of which 2 % are missing, then columns of seven categories."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, numeric))
    values[rng.random(values.shape) < 0.02] = np.nan
    frame = pd.DataFrame(values, columns=[f"n{number}" for number in range(numeric)])
    letters = rng.choice(list("abcdefg"), (rows, COLUMNS - numeric))
    others = pd.DataFrame(letters, columns=[f"c{number}" for number in range(COLUMNS - numeric)])
    return pd.concat([frame, others], axis=1)


def measured(*, numeric: int) -> dict[str, Any]:
    """The row of a table of so many numeric columns; the others are of categories."""
    train = table(TRAIN_ROWS, numeric=numeric, seed=0)
    names = list(train.columns)
    preprocessing = TablePreprocessing.fit(
        train, numeric=names[:numeric], categorical=names[numeric:], target=ClassTarget(name="y", classes=("a", "b"))
    )
    probabilities = np.random.default_rng(1).dirichlet([1, 1], TRAIN_ROWS).astype(np.float32)
    embeddings = projected(np.random.default_rng(3).normal(size=(TRAIN_ROWS, WIDTH)))
    reference = Reference.of(preprocessing, [preprocessing.encode(train)], probabilities, embedding=embeddings)
    batch = table(ROWS, numeric=numeric, seed=2)
    arrays, gaps = preprocessing.encode_with_gaps(batch)
    outputs, embedding = probabilities[:ROWS], embeddings[:ROWS]
    observer = Observer(preprocessing, reference, embedding=True)
    network = _network()
    inputs = torch.zeros(ROWS, COLUMNS)
    described = input_features(preprocessing)(arrays, gaps)
    known = list(reference.inputs.values())
    numbers = [one for one in known if isinstance(one, NumericReference)]
    categories = [one for one in known if isinstance(one, CategoricalReference)]
    edges = [np.asarray([one.minimum, *one.edges, one.maximum]) for one in numbers]

    def column_by_column() -> None:
        for number, one in enumerate(numbers):
            one.count(described.numbers[:, number])
        for number, category in enumerate(categories):
            category.count(Counter(batch[names[numeric + number]]))

    def histograms() -> None:
        for number, inner in enumerate(edges):
            values = described.numbers[:, number]
            np.histogram(values[~np.isnan(values)], bins=inner)
        for number in range(len(categories)):
            np.bincount(described.codes[:, number] + 1)

    def forward() -> None:
        with torch.inference_mode():
            network(inputs)

    def forward_seen() -> None:
        with torch.inference_mode(), Projections(network) as seen:
            network(inputs)
        assert seen.values is not None

    timed = in_turns(
        {
            "observer": lambda: observer.count(arrays, gaps=gaps, outputs=outputs, embedding=embedding),
            "warm_up": forward,
            "forward": forward,
            "forward_seen": forward_seen,
            "column_by_column": column_by_column,
            "np_histogram": histograms,
            "encode": lambda: preprocessing.encode(batch),
        }
    )
    return _row(timed, numeric=numeric)


def _row(timed: Mapping[str, Sequence[float]], *, numeric: int) -> dict[str, Any]:
    row: dict[str, Any] = {"metric": "ms a batch, p50", "rows": ROWS, "columns": COLUMNS, "numeric": numeric}
    row |= {f"{name}_ms_p50": round(statistics.median(took), 4) for name, took in timed.items()}
    row["hooks_ms_p50"] = round(row["forward_seen_ms_p50"] - row["forward_ms_p50"], 4)
    row["observer_ms_p99"] = round(sorted(timed["observer"])[int(0.99 * ROUNDS)], 4)
    for other in ("column_by_column", "np_histogram"):
        row[f"{other}_by_observer"] = round(row[f"{other}_ms_p50"] / row["observer_ms_p50"], 1)
    return row | {"bar_ms": BAR_MS, "met": row["observer_ms_p50"] + row["hooks_ms_p50"] <= BAR_MS}


def _network() -> torch.nn.Module:
    layers = [torch.nn.Linear(COLUMNS, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 2)).eval()


def in_turns(calls: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Milliseconds of each call, round after round."""
    timed: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            timed[name].append(1000 * (time.perf_counter() - started))
    return timed


def main() -> None:
    rows = {f"{numeric} of {COLUMNS} columns numeric": measured(numeric=numeric) for numeric in (COLUMNS, 80)}
    for name, row in rows.items():
        print(name, row)
    print(results_file.write("observation", {name: results_file.stamped(row) for name, row in rows.items()}))
    raise SystemExit(0 if all(row["met"] for row in rows.values()) else 1)


if __name__ == "__main__":
    main()
