"""Batches of every modality: parts in any order are the whole, bit for bit, and training counts as monitoring does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from forgeline.bundle import Bundle, Reference
from forgeline.bundle.embedding import PROJECTIONS, Projections, in_one_pass
from forgeline.bundle.observation import Observation
from forgeline.bundle.observer import Observer, observe
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline.errors import BundleError
from forgeline.preprocessing import ClassTarget, Preprocessing, TablePreprocessing

Arrays = Mapping[str, NDArray[Any]]
REPLICAS = 256
SAMPLES = 600


def samples_of(kind: str, customers: pd.DataFrame) -> Any:
    """Many samples, as the preprocessing takes them."""
    rng = np.random.default_rng(5)
    if kind == "table":
        return customers.sample(SAMPLES, replace=True, random_state=1, ignore_index=True)
    if kind == "image":
        return rng.integers(0, 256, (SAMPLES, 32, 32, 3)).astype(np.uint8)
    if kind == "series":
        return rng.normal(50, 10, (SAMPLES, 12, 1))
    return ["".join(rng.choice(list("abcdefgh xyz"), rng.integers(1, 12))) for _ in range(SAMPLES)]


def rows_of(raw: Any, rows: NDArray[np.int64]) -> Any:
    if isinstance(raw, pd.DataFrame):
        return raw.iloc[rows]
    return [raw[row] for row in rows] if isinstance(raw, list) else raw[rows]


@pytest.fixture(params=["table", "image", "series", "text"])
def case(
    request: pytest.FixtureRequest,
    table_bundle: Bundle,
    image_bundle: Bundle,
    forecast_bundle: Bundle,
    text_bundle: Bundle,
    customers: pd.DataFrame,
) -> tuple[Preprocessing, Any]:
    bundles = {"table": table_bundle, "image": image_bundle, "series": forecast_bundle, "text": text_bundle}
    return bundles[request.param].preprocessing, samples_of(request.param, customers)


def made_of(preprocessing: Preprocessing, samples: int) -> NDArray[Any] | None:
    """Outputs, the same for the same samples."""
    rng = np.random.default_rng(6)
    if preprocessing.classes is not None:
        return rng.dirichlet(np.ones(len(preprocessing.classes)), samples).astype(np.float32)
    return rng.normal(size=(samples, 2, 1)).astype(np.float32) if preprocessing.target is not None else None


def counted(preprocessing: Preprocessing, reference: Reference, raw: Any, rows: NDArray[np.int64]) -> Observation:
    observer = Observer(preprocessing, reference, embedding=True)
    arrays, gaps = _encoded(preprocessing, rows_of(raw, rows))
    made = made_of(preprocessing, SAMPLES)
    observer.count(arrays, gaps=gaps, outputs=None if made is None else made[rows], embedding=embedding_of()[rows])
    return observer.take()


def embedding_of() -> NDArray[np.float64]:
    return np.random.default_rng(7).normal(size=(SAMPLES, PROJECTIONS))


def _encoded(preprocessing: Preprocessing, raw: Any) -> tuple[Arrays, Any]:
    if isinstance(preprocessing, TablePreprocessing):
        return preprocessing.encode_with_gaps(raw)
    return preprocessing.encode(raw), None


def test_the_counts_of_256_replicas_are_those_of_one_pass(case: tuple[Preprocessing, Any]) -> None:
    preprocessing, raw = case
    half = _encoded(preprocessing, rows_of(raw, np.arange(SAMPLES // 2)))[0]
    made = made_of(preprocessing, SAMPLES)
    reference = Reference.of(preprocessing, [half], made, embedding=embedding_of())
    whole = counted(preprocessing, reference, raw, np.arange(SAMPLES))
    rng = np.random.default_rng(8)
    places = np.array_split(rng.permutation(SAMPLES), np.sort(rng.integers(0, SAMPLES, REPLICAS - 1)))
    parts = [counted(preprocessing, reference, raw, rows) for rows in places if len(rows)]
    sent = [Observation.from_bytes(part.to_bytes()) for part in parts]
    assert reduce(add, sent) == whole and reduce(add, parts[::-1]) == whole
    assert whole.rows == SAMPLES and whole.inputs.keys() == reference.inputs.keys()
    assert whole.outputs.keys() == reference.outputs.keys()
    whole.check_fits(reference)


def test_training_and_monitoring_count_alike(case: tuple[Preprocessing, Any]) -> None:
    """The reference of samples has the very counts that an observer makes of them, whatever their batches."""
    preprocessing, raw = case
    batches = [
        _encoded(preprocessing, rows_of(raw, np.arange(start, start + 60)))[0] for start in range(0, SAMPLES, 60)
    ]
    reference = Reference.of(preprocessing, batches)
    whole, gaps = _encoded(preprocessing, raw)
    assert Reference.of(preprocessing, [whole]) == reference
    observer = Observer(preprocessing, reference)
    observer.count(whole, gaps=gaps)
    for name, counts in observer.observation().inputs.items():
        known = reference.inputs[name]
        assert counts.missing == known.missing
        if isinstance(known, NumericReference):
            assert (counts.below, counts.bins.tolist(), counts.above) == (0, list(known.counts), 0)  # type: ignore[union-attr]


def test_embeddings_are_seen_in_the_pass_that_answers(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    assert in_one_pass(table_bundle.task, "table") and not in_one_pass("translation", "pairs")
    arrays = table_bundle.preprocessing.encode(customers)
    with Projections(table_bundle.model) as seen:
        outputs = table_bundle.outputs(arrays, batch_size=64, device="cpu")
    vectors = table_bundle.embed(customers, device="cpu")
    from forgeline.bundle.embedding import projected

    assert seen.values is not None and seen.values.shape == (200, PROJECTIONS)
    np.testing.assert_allclose(seen.values, projected(vectors), atol=1e-5)
    np.testing.assert_array_equal(outputs, table_bundle.outputs(arrays, batch_size=64, device="cpu"))
    assert not any(module._forward_pre_hooks for module in table_bundle.model.modules()), "nothing is left behind"


def test_a_network_that_reads_no_vector_per_sample_has_no_embedding_here() -> None:
    network = torch.nn.Conv1d(1, 1, 1)
    with Projections(network) as seen:
        network(torch.zeros(2, 1, 3))
    assert seen.values is None


def test_a_bundle_with_an_embedding_is_observed_with_it(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    preprocessing = table_bundle.preprocessing
    arrays = preprocessing.encode(customers)
    with Projections(table_bundle.model) as seen:
        outputs = table_bundle.outputs(arrays)
    saved = {
        "model_state": table_bundle.model.state_dict(),
        "architecture": table_bundle.manifest.architecture,
        "signature": table_bundle.manifest.signature,
        "preprocessing": preprocessing,
    }
    folder = table_bundle.folder.with_name("embedding")
    reference = Reference.of(preprocessing, [arrays], outputs, embedding=seen.values)
    bundle = Bundle.save(folder, reference=reference, **saved)  # type: ignore[arg-type]
    found = observe(bundle, customers)
    assert {f"embedding[{number}]" for number in range(PROJECTIONS)} <= found.outputs.keys()
    without = Observer.of(bundle)
    assert without.wants_outputs and not without.wants_embedding
    with pytest.raises(ValueError, match="with every batch"):
        without.count(arrays)


def test_a_reference_of_format_1_is_counted_in_what_is_as_it_was(text_bundle: Bundle, image_bundle: Bundle) -> None:
    length = NumericReference.of(np.arange(1.0, 9.0))
    token = CategoricalReference.of(["1", "2"], [5, 4])
    old = Reference(format=1, samples=8, inputs={"length": length, "token": token})
    assert Observer(text_bundle.preprocessing, old).observation().inputs.keys() == {"length"}
    mean = NumericReference.of(np.linspace(0, 1, 9))
    pictures = Reference(format=1, samples=9, inputs={"intensity": mean, "contrast": mean})
    assert Observer(image_bundle.preprocessing, pictures).observation().inputs.keys() == {"intensity", "contrast"}


def test_a_column_of_another_kind_is_refused(table_bundle: Bundle) -> None:
    assert table_bundle.reference is not None
    inputs = dict(table_bundle.reference.inputs)
    wrong = Reference(samples=1, inputs=inputs | {"plan": inputs["age"]})
    with pytest.raises(BundleError, match="'plan' as numeric; the model reads another kind"):
        Observer(table_bundle.preprocessing, wrong)


def test_a_column_that_training_had_no_value_of_is_missing_then_and_now() -> None:
    frame = pd.DataFrame({"age": np.arange(40.0), "none": [None] * 40, "y": ["a", "b"] * 20})
    target = ClassTarget.fit("y", frame["y"])
    preprocessing = TablePreprocessing.fit(frame, numeric=["age", "none"], categorical=[], target=target)
    arrays, gaps = preprocessing.encode_with_gaps(frame)
    reference = Reference.of(preprocessing, [arrays])
    assert reference.inputs["none"].missing == 40
    observer = Observer(preprocessing, reference)
    observer.count(arrays, gaps=gaps)
    assert observer.take().inputs["none"].missing == 40 and observer.take().rows == 0


def describe(bundle: Bundle, pixels: NDArray[Any]) -> dict[str, float]:
    from forgeline.bundle.reference_features import input_features

    features = input_features(bundle.preprocessing)
    values = features(bundle.preprocessing.encode(pixels[None])).numbers[0]
    return dict(zip(features.numeric, values.tolist(), strict=True))


CHANGES: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], set[str]]] = {
    "turned": (lambda pixels: np.rot90(pixels).copy(), {"orientation", "balance.across", "balance.down"}),
    "upside down": (lambda pixels: np.rot90(pixels, 2).copy(), {"balance.across", "balance.down"}),
    "darkened": (lambda pixels: pixels // 2, {"intensity", "contrast", "bright", "sharpness", "red"}),
    "blurred": (lambda pixels: (pixels + np.roll(pixels, 1, 0) + np.roll(pixels, 2, 0)) // 3, {"sharpness"}),
    "reddened": (lambda pixels: np.minimum(pixels + np.array([60, 0, 0]), 255), {"red", "intensity"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_a_picture_show_in_what_they_change(image_bundle: Bundle, change: str) -> None:
    rng = np.random.default_rng(0)
    stripes = np.zeros((32, 32, 3), dtype=np.int64)
    stripes[1:20:4, 2:14] = 200
    pixels = stripes + rng.integers(0, 20, stripes.shape)
    make, wanted = CHANGES[change]
    before, after = describe(image_bundle, pixels), describe(image_bundle, make(pixels))
    moved = {name for name in before if abs(before[name] - after[name]) > 0.02}
    assert wanted <= moved, (before, after)
    if change in ("turned", "upside down"):
        assert moved.isdisjoint({"intensity", "contrast", "dark", "bright", "red"})


def test_texts_are_described_by_their_characters(text_bundle: Bundle) -> None:
    from forgeline.bundle.reference_features import input_features

    features = input_features(text_bundle.preprocessing)
    seen = features(text_bundle.preprocessing.encode(["ab h", "a??b"]))
    known = dict(zip(features.numeric, seen.numbers.T.tolist(), strict=True))
    assert known["length"] == [4, 4] and known["unknown"] == [0, 0.5]
    assert known["letters"] == [0.75, 1] and known["spaces"] == [0.25, 0]
