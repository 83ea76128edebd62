"""Pairs as samples, and the two built-in sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forgeline.preprocessing import PairPreprocessing
from forgeline.preprocessing.pairs import END, PADDING, START
from forgeline_architectures import beam_search
from forgeline_jobs.data import sources
from forgeline_jobs.data.base import SPLITS, PreparedData
from forgeline_jobs.data.pairs import IGNORED, prepare_pairs


def texts(data: PreparedData, split: Any) -> list[tuple[str, str]]:
    """(source, target) as text."""
    assert isinstance(data.preprocessing, PairPreprocessing)
    batch = data.splits[split].batch(np.arange(len(data.splits[split])))
    decode = data.preprocessing.decode_tokens
    return [
        ("".join(decode(source).split()), decode(target))
        for source, target in zip(batch["source"], batch["target"].clip(0), strict=True)
    ]


@pytest.fixture(scope="module")
def cmudict() -> PreparedData:
    return sources.CMUDICT.prepare(sources.CMUDICT.config_model()(name="cmudict"))


def test_both_sides_of_the_code_number_the_reserved_tokens_alike() -> None:
    assert (beam_search.PADDING, beam_search.START, beam_search.END) == (PADDING, START, END)


def test_what_is_read_is_the_target_moved_on_by_one() -> None:
    pairs = {split: [("ab", "ba"), ("a", "a")] for split in SPLITS}
    data = prepare_pairs(pairs)
    batch = data.splits["train"].batch(np.asarray([0, 1]))
    assert batch["source"].tolist() == [[3, 4], [3, PADDING]] and batch["length"].tolist() == [2, 1]
    assert batch["target"].tolist() == [[4, 3, END], [3, END, IGNORED]]
    assert batch["previous"].tolist() == [[START, 4, 3], [START, 3, END]]


def test_reverse_copy_is_random_letters_backwards() -> None:
    data = sources.REVERSE_COPY.prepare(sources.REVERSE_COPY.config_model()(name="reverse-copy"))
    assert data.summary["samples"] == {"train": 10_000, "val": 1000, "test": 1000}
    seen: set[str] = set()
    for split in SPLITS:
        found = texts(data, split)
        assert all(len(source) == 20 and target == source[::-1] for source, target in found)
        assert not seen & {source for source, _ in found}
        seen |= {source for source, _ in found}
    assert set("".join(seen)) == set("abcdefghijklmnopqrstuvwxyz")


def test_cmudict_holds_out_a_thousand_words_each(cmudict: PreparedData) -> None:
    assert cmudict.summary["samples"] == {"train": 104_317, "val": 1000, "test": 1000}
    found = {split: dict(texts(cmudict, split)) for split in SPLITS}
    assert sum(len(words) for words in found.values()) == len(set().union(*found.values())) == 106_317
    everything = found["train"] | found["val"] | found["test"]
    assert all(3 <= len(word) <= 10 for word in everything)
    # The first of the two ways to say `read`, and none of the marks of stress.
    assert everything["read"] == "R EH D" and everything["phoneme"] == "F OW N IY M"
    assert len({phoneme for sounds in everything.values() for phoneme in sounds.split()}) == 39
