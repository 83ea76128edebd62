"""Hidden words and spans that are left out: shares, what they become, fixed gaps, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forgeline.preprocessing import PairPreprocessing, TextPreprocessing
from forgeline.preprocessing.pairs import END, RESERVED
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.objectives import IGNORED, MaskedWindows, SpanWindows
from forgeline_jobs.data.sources import SHAKESPEARE_SENTENCES, TINYSHAKESPEARE
from forgeline_jobs.data.windows import TrainWindows

CONTEXT, SIZE, MASK, FIRST = 64, 1000, 1000, 1001
TEXT = np.random.default_rng(0).integers(SIZE, size=CONTEXT * 400)


@pytest.fixture(scope="module")
def masked() -> MaskedWindows:
    return MaskedWindows(TrainWindows(TEXT, CONTEXT - 1), size=SIZE, mask=MASK, first=FIRST, has_unknown=True)


def test_a_seventh_is_hidden_as_in_the_paper(masked: MaskedWindows) -> None:
    batch = masked.batch(np.arange(len(masked)))
    tokens, target = batch["tokens"], batch["target"]
    assert tokens.shape == target.shape == (len(masked), CONTEXT)
    assert (tokens[:, 0] == FIRST).all() and (target[:, 0] == IGNORED).all()
    hidden = target != IGNORED
    assert hidden[:, 1:].mean() == pytest.approx(0.15, abs=0.01)
    assert (tokens[hidden] == MASK).mean() == pytest.approx(0.8, abs=0.02)
    assert (tokens[hidden] == target[hidden]).mean() == pytest.approx(0.1, abs=0.02)
    assert (tokens[:, 1:] < SIZE)[~hidden[:, 1:]].all()


def test_what_was_hidden_is_the_text(masked: MaskedWindows) -> None:
    batch = masked.batch(np.arange(3))
    whole = np.where(batch["target"] == IGNORED, batch["tokens"], batch["target"])[:, 1:]
    assert np.array_equal(whole.ravel(), TEXT[: whole.size])


def test_unknown_words_are_not_asked_for() -> None:
    unknown = MaskedWindows(
        TrainWindows(np.zeros(CONTEXT * 9, dtype=np.int64), CONTEXT),
        size=SIZE,
        mask=MASK,
        first=FIRST,
        has_unknown=True,
    )
    assert (unknown.batch(np.arange(4))["target"] == IGNORED).all()


def test_gaps_are_fixed_where_nothing_is_learnt_and_change_with_the_epoch(masked: MaskedWindows) -> None:
    rows = np.arange(4)
    first, again = masked.batch(rows), masked.batch(rows)
    assert np.array_equal(first["tokens"], again["tokens"])
    assert np.array_equal(masked.batch(rows[2:])["target"], first["target"][2:])
    epochs = [masked.batch(rows, (3, epoch))["tokens"] for epoch in (0, 0, 1)]
    assert np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[0] == MASK, epochs[2] == MASK)


def test_spans_and_what_is_left_make_up_the_text() -> None:
    sentinel = RESERVED + SIZE
    spans = SpanWindows(TrainWindows(TEXT + RESERVED, CONTEXT), CONTEXT, sentinel=sentinel)
    batch = spans.batch(np.arange(50))
    assert np.array_equal(batch["previous"][:, 1:], batch["target"][:, :-1])
    for row, (source, target) in enumerate(zip(batch["source"], batch["target"], strict=True)):
        assert target[-1] == END and target[-2] == sentinel + 3
        said: dict[int, list[int]] = {}
        for token in target[:-2].tolist():
            said.setdefault(token, []) if token >= sentinel else said[max(said)].append(token)
        assert list(said) == [sentinel, sentinel + 1, sentinel + 2] and all(said.values())
        assert sum(map(len, said.values())) == 10  # 15 % of 64, in spans of 3 on average
        whole = [part for token in source.tolist() for part in said.get(token, [token])]
        assert np.array_equal(whole, TEXT[row * CONTEXT : (row + 1) * CONTEXT] + RESERVED)
    assert np.array_equal(batch["source"], spans.batch(np.arange(50))["source"])
    assert not np.array_equal(batch["source"], spans.batch(np.arange(50), (0, 1))["source"])


def shakespeare(**settings: Any) -> PreparedData:
    given = {"name": "tinyshakespeare", "tokenizer": "word", "context": 32, **settings}
    return TINYSHAKESPEARE.prepare(TINYSHAKESPEARE.config_model().model_validate(given))


def test_words_of_tinyshakespeare_with_gaps() -> None:
    data = shakespeare(objective="masked", vocabulary=2000)
    assert data.signature.task == "masked_language_modelling" and data.signature.outputs == (2002,)
    assert 0.05 < data.summary["unknown"]["test"] < 0.2
    preprocessing = data.preprocessing
    assert isinstance(preprocessing, TextPreprocessing)
    encoded = preprocessing.encode(["O Romeo, Romeo! wherefore art [MASK] Romeo?", *data.input_example])
    assert encoded["length"][0] == 11 and encoded["tokens"][0, 0] == preprocessing.first
    assert encoded["tokens"][0, 8] == preprocessing.mask and encoded["tokens"][1, 2] == preprocessing.mask
    filled = np.where(encoded["tokens"] == preprocessing.mask, 1, encoded["tokens"])[:1, :11]
    [text] = preprocessing.decode(filled)["prediction"]
    assert text == f"o romeo , romeo ! wherefore art {preprocessing.decode_text([1])} romeo ?"


def test_spans_of_tinyshakespeare() -> None:
    data = shakespeare(objective="spans")
    assert data.signature.task == "translation" and isinstance(data.preprocessing, PairPreprocessing)
    batch = data.splits["val"].batch(np.arange(2))
    shapes = {name: tuple(spec.shape) for name, spec in data.signature.inputs.items()}
    assert shapes == {name: batch[name].shape[1:] for name in ("source", "length", "previous")}
    encoded = data.preprocessing.encode(data.input_example)["source"]
    assert np.array_equal(encoded, data.splits["train"].batch(np.zeros(1, dtype=np.int64))["source"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "spans", "tokenizer": "character"}, "objective spans needs `tokenizer: word`"),
        ({"objective": "masked", "context": 4}, "needs a context of at least 8, got 4"),
        ({"tokenizer": "byte", "vocabulary": 300}, "vocabulary is for `tokenizer: word`, `bpe` and `file` only"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shakespeare(**settings)


def test_sentences_of_shakespeare() -> None:
    config = SHAKESPEARE_SENTENCES.config_model().model_validate({"name": "shakespeare-sentences", "labels": 50})
    data = SHAKESPEARE_SENTENCES.prepare(config)
    assert data.summary["samples"] == {"train": 50, "val": 537, "test": 1192}
    assert data.preprocessing.classes == ("exclamation", "question", "statement")
    batch = data.splits["test"].batch(np.arange(3))
    assert batch["tokens"].shape == (3, 32) and set(batch) == {"tokens", "length", "target"}
    pretraining = shakespeare(objective="masked").preprocessing
    assert isinstance(data.preprocessing, TextPreprocessing) and isinstance(pretraining, TextPreprocessing)
    assert data.preprocessing.tokenizer == pretraining.tokenizer
    assert data.signature.vocabulary == pretraining.vocabulary_size
    rows = zip(batch["tokens"], batch["length"], strict=True)
    shown = [data.preprocessing.decode_text(row[1:length]) for row, length in rows]
    assert not any(mark in text for text in shown for mark in ".?!")
