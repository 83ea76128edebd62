"""Packing: every token of every document is predicted once, from its own document only."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_jobs.data.packing import IGNORED, PackedSplit
from forgeline_jobs.data.windows import EvalWindows, TrainWindows


@settings(max_examples=60)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=20), st.integers(1, 16))
def test_each_token_is_a_target_once_and_follows_its_own_document(sizes: list[int], context: int) -> None:
    # Token numbers tell document and place apart.
    documents = [1000 * (number + 1) + np.arange(size) for number, size in enumerate(sizes)]
    split = PackedSplit(documents, context)
    batch = split.batch(np.arange(len(split)))
    real = batch["target"] != IGNORED
    assert sorted(batch["target"][real]) == sorted(int(t) for document in documents for t in document[1:])
    assert (batch["target"][real] == batch["tokens"][real] + 1).all()
    for row in range(len(split)):
        for segment in np.unique(batch["segments"][row]):
            inside = batch["segments"][row] == segment
            tokens = batch["tokens"][row][inside & real[row]]
            assert len(tokens) == 0 or (np.diff(tokens) == 1).all()


def test_short_documents_fill_the_rows() -> None:
    sizes = np.random.default_rng(0).integers(2, 60, 400)
    split = PackedSplit([np.arange(size) for size in sizes], 64)
    assert split.fill > 0.95


@given(st.integers(2, 200), st.integers(1, 30))
def test_measuring_leaves_no_token_out(tokens: int, context: int) -> None:
    split = EvalWindows(np.arange(tokens), context)
    batch = split.batch(np.arange(len(split)))
    real = batch["target"] != IGNORED
    assert batch["target"][real].tolist() == list(range(1, tokens))
    assert (batch["target"][real] == batch["tokens"][real] + 1).all()


@given(st.integers(1, 20), st.integers(0, 100), st.integers(0, 9), st.integers(0, 9))
def test_training_windows_lie_inside_and_cover_the_text(context: int, more: int, seed: int, epoch: int) -> None:
    text = np.arange(context + 1 + more)
    split = TrainWindows(text, context)
    batch = split.batch(np.arange(len(split)), (seed, epoch))
    assert (batch["target"] == batch["tokens"] + 1).all()
    missed = len(text) - 1 - len(np.unique(batch["tokens"]))
    assert missed < 2 * context
    part = split.batch(np.asarray([len(split) - 1]), (seed, epoch))
    np.testing.assert_array_equal(part["tokens"][0], batch["tokens"][-1])
