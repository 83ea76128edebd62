"""Pairs of sequences: text to tokens and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forgeline.errors import DataError
from forgeline.preprocessing import PairPreprocessing, load_preprocessing
from forgeline.preprocessing.pairs import END, PADDING, START

SOUNDS = PairPreprocessing(symbols=("AH", "K", "a", "b", "c"), source_length=4, target_length=3, target_separator=" ")


def test_sources_are_filled_up_behind_their_length() -> None:
    arrays = SOUNDS.encode(["ab", "cabc"])
    assert arrays["source"].tolist() == [[5, 6, PADDING, PADDING], [7, 5, 6, 7]]
    assert arrays["length"].tolist() == [2, 4]
    assert SOUNDS.encode("ab")["source"].tolist() == [[5, 6, PADDING, PADDING]]


def test_targets_come_back_as_text() -> None:
    tokens = SOUNDS.encode_targets([["K", "AH"], ["K"]])
    assert tokens.tolist() == [[4, 3, END], [4, END, PADDING]]
    assert SOUNDS.decode(tokens)["prediction"].tolist() == ["K AH", "K"]
    assert SOUNDS.decode_tokens(np.asarray([START, 4, END, 3])) == "K", "nothing behind the end, no start token"


def test_symbols_of_a_source_may_be_words() -> None:
    words = SOUNDS.model_copy(update={"source_separator": " "})
    assert words.encode(["K  AH"])["source"].tolist() == [[4, 3, PADDING, PADDING]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abd", r"sequence 1 .*symbol 'd', which the training data do not have"),
        ("", r"sequence 1 .*has 0 symbols; allowed: 1 to 4"),
        ("abcab", r"has 5 symbols; allowed: 1 to 4"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        SOUNDS.encode(["a", text])


def test_a_file_has_a_source_per_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("ab\n\n cab \n", encoding="utf-8")
    assert SOUNDS.read(tmp_path / "words.txt") == ["ab", "cab"]
    assert SOUNDS.row_labels(["ab", "cab"])["source"].tolist() == ["ab", "cab"]
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match="no line"):
        SOUNDS.read(tmp_path / "blank.txt")
    with pytest.raises(DataError, match="is a folder"):
        SOUNDS.read(tmp_path)


def test_it_is_json_as_a_whole() -> None:
    assert load_preprocessing(SOUNDS.model_dump_json()) == SOUNDS
    assert SOUNDS.vocabulary_size == 8
