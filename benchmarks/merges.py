"""Counts of 256 replicas, merged, against one pass: bit for bit, in any order, of every kind of data.

    make acceptance ONLY=merge

Replicas count batches of any size, send what they counted as bytes, and the sum must be the observation of all samples
in one go, read from its own bytes again. The orders are drawn anew in every trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forgeline.bundle import Reference
from forgeline.bundle.observation import Observation
from forgeline.bundle.observer import Observer
from forgeline.preprocessing import (
    ClassTarget,
    ImagePreprocessing,
    Preprocessing,
    SeriesPreprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from forgeline.preprocessing.tokenization import CharacterTokenizer

Say = Callable[[str], None]

REPLICAS, SAMPLES, TRIALS = 256, 5_000, 5
CLASSES = ("a", "b", "c")


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The rows of the group."""
    return {f"{REPLICAS} replicas, {name}": partial(measured, say, name) for name in DATA}


def measured(say: Say, name: str) -> dict[str, Any]:
    """All trials on one kind of data."""
    rng = np.random.default_rng(0)
    preprocessing, raw = DATA[name](rng)
    outputs = rng.dirichlet(np.ones(len(CLASSES)), SAMPLES)
    embedding = rng.normal(size=(SAMPLES, 4))
    whole = np.arange(SAMPLES)
    half = _part(raw, whole[: SAMPLES // 2])
    reference = Reference.of(preprocessing, [preprocessing.encode(half)], outputs, embedding=embedding)

    def counted(places: NDArray[np.int64]) -> Observation:
        observer = Observer(preprocessing, reference, embedding=True)
        part, gaps = _part(raw, places), None
        if isinstance(preprocessing, TablePreprocessing):
            arrays, gaps = preprocessing.encode_with_gaps(part)
        else:
            arrays = preprocessing.encode(part)
        observer.count(arrays, gaps=gaps, outputs=outputs[places], embedding=embedding[places])
        return observer.take()

    one_pass = counted(whole)
    same = 0
    for _ in range(TRIALS):
        cuts = np.sort(rng.choice(np.arange(1, SAMPLES), REPLICAS - 1, replace=False))
        parts = [counted(places) for places in np.split(rng.permutation(whole), cuts)]
        sent = [Observation.from_bytes(parts[number].to_bytes()) for number in rng.permutation(len(parts))]
        same += reduce(add, sent).to_bytes() == one_pass.to_bytes()
    say(f"{name}: {same} of {TRIALS} trials bit for bit")
    features = len(one_pass.inputs) + len(one_pass.outputs)
    return {
        "metric": "trials in which the sum is one pass, bit for bit",
        "measured": same,
        "trials": TRIALS,
        "replicas": REPLICAS,
        "samples": SAMPLES,
        "features": features,
        "bytes_sent_per_feature": round(len(one_pass.to_bytes()) / features),
        "met": same == TRIALS,
    }


def _part(raw: Any, places: NDArray[np.int64]) -> Any:
    if isinstance(raw, pd.DataFrame):
        return raw.iloc[places]
    return [raw[place] for place in places] if isinstance(raw, list) else raw[places]


def _table(rng: np.random.Generator) -> tuple[Preprocessing, Any]:
    values = rng.standard_t(2, (SAMPLES, 20))
    values[rng.random(values.shape) < 0.05] = np.nan
    frame = pd.DataFrame(values, columns=[f"x{number}" for number in range(20)])
    frame["city"] = rng.choice(["Oslo", "Bergen", "", "Atlantis"], SAMPLES)
    known = frame[frame["city"] != "Atlantis"]
    target = ClassTarget(name="y", classes=CLASSES)
    return TablePreprocessing.fit(
        known, numeric=[f"x{number}" for number in range(20)], categorical=["city"], target=target
    ), frame


def _images(rng: np.random.Generator) -> tuple[Preprocessing, Any]:
    pixels = rng.integers(0, 256, (SAMPLES, 16, 16, 3)).astype(np.uint8)
    return ImagePreprocessing.fit(pixels, target=ClassTarget(name="y", classes=CLASSES)), pixels


def _series(rng: np.random.Generator) -> tuple[Preprocessing, Any]:
    series = np.cumsum(rng.normal(size=(SAMPLES, 24, 2)), axis=1)
    mean, std = SeriesPreprocessing.statistics(series)
    target = ClassTarget(name="y", classes=CLASSES)
    return SeriesPreprocessing(channels=("u", "v"), mean=mean, std=std, window=24, target=target), series


def _texts(rng: np.random.Generator) -> tuple[Preprocessing, Any]:
    texts = ["".join(rng.choice(list("abcdef .0"), rng.integers(1, 40))) for _ in range(SAMPLES)]
    tokenizer = CharacterTokenizer.fit(["abcdef "], documents=False)
    return TextPreprocessing(tokenizer=tokenizer, context=32, target=ClassTarget(name="y", classes=CLASSES)), texts


DATA: Mapping[str, Callable[[np.random.Generator], tuple[Preprocessing, Any]]] = {
    "table": _table,
    "images": _images,
    "series": _series,
    "texts": _texts,
}
