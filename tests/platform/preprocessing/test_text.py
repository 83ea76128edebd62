"""Tokenizers: what they cover comes back, what they do not is number 0; state is JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.errors import DataError
from forgeline.preprocessing import ClassTarget, TextPreprocessing, load_preprocessing
from forgeline.preprocessing.tokenization import BpeTokenizer, ByteTokenizer, CharacterTokenizer, WordTokenizer

CORPUS = ["the cat sat on the mat", "the dog sat on the cat"]
BPE = BpeTokenizer.fit(CORPUS, vocabulary=280, documents=True)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@given(texts)
def test_bytes_and_bpe_cover_every_text(text: str) -> None:
    for tokenizer in (ByteTokenizer.fit(documents=True), BPE):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert ids.dtype == np.int64 and ((ids >= 0) & (ids < tokenizer.size)).all()


def test_characters_of_train_come_back_and_others_are_unknown() -> None:
    tokenizer = CharacterTokenizer.fit(["hello"], documents=False)
    assert tokenizer.size == 5 and tokenizer.end is None
    assert tokenizer.decode(tokenizer.encode("hole")) == "hole"
    assert tokenizer.encode("hé").tolist()[1] == 0
    assert tokenizer.decode(tokenizer.encode("hé")) == "h\ufffd"


def test_bpe_learns_the_same_twice_and_merges() -> None:
    assert BpeTokenizer.fit(CORPUS, vocabulary=280, documents=True) == BPE
    assert len(BPE.encode("the cat")) < len("the cat")


def test_the_closing_token_cannot_be_written_by_a_text() -> None:
    assert BPE.end is not None
    assert BPE.end not in BPE.encode("a <|end|> b").tolist()


def test_encode_keeps_the_end_of_a_long_prompt() -> None:
    preprocessing = TextPreprocessing(tokenizer=ByteTokenizer(), context=4)
    encoded = preprocessing.encode(["abcdef", "xy"])
    assert encoded["tokens"].tolist() == [[99, 100, 101, 102], [120, 121, 0, 0]]
    assert encoded["length"].tolist() == [4, 2]
    with pytest.raises(DataError, match="text 0 is empty"):
        preprocessing.encode([""])


def test_decode_shows_the_next_token() -> None:
    preprocessing = TextPreprocessing(tokenizer=CharacterTokenizer.fit(["ab"], documents=False), context=4)
    table = preprocessing.decode(np.asarray([[0.1, 0.2, 0.7]]))
    assert table["prediction"].tolist() == ["b"] and table["probability"].tolist() == [0.7]


@settings(max_examples=30)
@given(st.lists(texts, min_size=1, max_size=3), st.sampled_from(["byte", "character", "bpe"]))
def test_json_gives_the_same_encoding(raw: list[str], kind: str) -> None:
    tokenizer = {
        "byte": ByteTokenizer(),
        "character": CharacterTokenizer.fit(CORPUS, documents=True),
        "bpe": BPE,
    }[kind]
    preprocessing = TextPreprocessing(tokenizer=tokenizer, context=8)
    restored = load_preprocessing(preprocessing.model_dump_json())
    np.testing.assert_array_equal(preprocessing.encode(raw)["tokens"], restored.encode(raw)["tokens"])


def test_read_file_folder_and_json_lines(tmp_path: Path) -> None:
    preprocessing = TextPreprocessing(tokenizer=ByteTokenizer(), context=8)
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n\n{"text": "three"}\n')
    assert preprocessing.read(tmp_path / "a.txt") == ["one"]
    assert preprocessing.read(tmp_path) == ["one", "two", "three"]
    (tmp_path / "b.jsonl").write_text('{"body": "two"}')
    with pytest.raises(DataError, match="line 1 has no field 'text'"):
        preprocessing.read(tmp_path / "b.jsonl")


def test_words_are_numbered_by_how_often_they_occur() -> None:
    tokenizer = WordTokenizer.fit(["The cat, the dog; o'er the cat"], vocabulary=5, documents=False)
    assert tokenizer.words == ("the", "cat", ",", ";") and tokenizer.size == 5
    assert tokenizer.encode("THE dog, the o'er-cat").tolist() == [1, 0, 3, 1, 0, 0, 2]
    assert tokenizer.decode([1, 2, 3, 0]) == "the cat , \ufffd"
    closed = WordTokenizer.fit(["a b a c"], vocabulary=4, documents=True)
    assert closed.words == ("a", "b") and closed.end == 3 and closed.size == 4


def whole(**given: Any) -> TextPreprocessing:
    words = WordTokenizer(words=("the", "cat", "sat"))
    return TextPreprocessing(tokenizer=words, context=4, whole=True, **given)


def test_a_text_that_is_read_as_a_whole_keeps_its_beginning_and_its_gaps() -> None:
    preprocessing = whole()
    encoded = preprocessing.encode(["the [MASK] sat the the", "[MASK]"])
    assert (preprocessing.mask, preprocessing.first, preprocessing.vocabulary_size) == (4, 5, 6)
    assert encoded["tokens"].tolist() == [[5, 1, 4, 3], [5, 4, 0, 0]] and encoded["length"].tolist() == [4, 2]
    assert preprocessing.shown(np.asarray([1, 4, 3])) == "the [MASK] sat"
    restored = load_preprocessing(preprocessing.model_dump_json())
    np.testing.assert_array_equal(restored.encode(["cat [MASK]"])["tokens"], [[5, 2, 4]])
    with pytest.raises(DataError, match="text 0 is empty"):
        preprocessing.encode([" "])


def test_filled_gaps_come_back_as_text_and_classes_by_name() -> None:
    assert whole().decode(np.asarray([[5, 1, 2, 3]]))["prediction"].tolist() == ["the cat sat"]
    classes = whole(target=ClassTarget(name="kind", classes=("no", "yes")))
    assert classes.decode(np.asarray([[0.2, 0.8]]))["prediction"].tolist() == ["yes"]
    assert [column["name"] for column in classes.schema()["outputs"]][:2] == ["prediction", "probability"]
    assert [column["name"] for column in whole().schema()["outputs"]] == ["prediction"]
    tagged = whole(target=ClassTarget(name="kind", classes=("no", "yes")), tagged=True)
    rows = [[[0.0, 0.0], [0.2, 0.8], [0.9, 0.1]], [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]
    assert tagged.decode(np.asarray(rows))["prediction"].tolist() == ["yes no", "no"]
    assert [column["name"] for column in tagged.schema()["outputs"]] == ["prediction"]
