"""What a text is described by: its length, the characters of its tokens, the share of unknown ones, and one token.

One token of each text, chosen by the text itself: all of them together would be far more alike than as many tokens of
as many texts, and a test of counts takes values for independent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from forgeline.preprocessing import PairPreprocessing, TextPreprocessing

Numbers = NDArray[np.float64]
Ids = NDArray[np.int64]

CLASSES = ("letters", "digits", "punctuation", "spaces", "others")
# Odd numbers of no meaning: M. Steele, S. Vigna, doi:10.1002/spe.3030, table 5; and the golden ratio.
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)
_STEP = np.uint64(0x9E3779B97F4A7C15)


def text_features(
    preprocessing: TextPreprocessing | PairPreprocessing,
) -> tuple[tuple[str, ...], Sequence[str], Callable[[tuple[Ids, Ids]], tuple[Numbers, Ids]]]:
    """Names of numbers, the vocabulary of `token`, and the way from tokens [n, T] with lengths [n] to both.

    | name | of a text, as the model reads it |
    |---|---|
    | length | tokens |
    | letters, digits, punctuation, spaces, others | shares of the characters of its tokens |
    | unknown | share of tokens that the vocabulary lacks, where the tokenizer knows such |
    | token | the number of one of its tokens: several tokens of a byte-level vocabulary have no text of their own |
    """
    texts, unknown, opened = _token_texts(preprocessing), _unknown(preprocessing), _opened(preprocessing)
    characters_VK = np.asarray([_classes(text) for text in texts], dtype=np.int64).reshape(len(texts), len(CLASSES))

    def describe(batch: tuple[Ids, Ids]) -> tuple[Numbers, Ids]:
        tokens_NT, lengths = batch
        inside = np.arange(tokens_NT.shape[1])[None, :] < lengths[:, None]
        totals_NK = np.where(inside[:, :, None], characters_VK[tokens_NT], 0).sum(axis=1)
        shares_NK = totals_NK / np.maximum(totals_NK.sum(axis=1, keepdims=True), 1)
        columns = [lengths.astype(np.float64)[:, None], shares_NK]
        if unknown is not None:
            columns.append((inside & (tokens_NT == unknown)).sum(axis=1, keepdims=True) / lengths[:, None])
        chosen = tokens_NT[np.arange(len(tokens_NT)), _place(tokens_NT, inside, lengths, opened)]
        return np.concatenate(columns, axis=1), chosen[:, None] + 1

    names = ("length", *CLASSES, *(("unknown",) if unknown is not None else ()))
    return names, [str(number) for number in range(len(texts))], describe


def _place(tokens_NT: Ids, inside: NDArray[np.bool_], lengths: Ids, opened: bool) -> Ids:
    """Which token of each text stands for it, by a hash of them all; not the one that every text begins with."""
    places = np.arange(1, tokens_NT.shape[1] + 1, dtype=np.uint64) * _STEP
    mixed = np.where(inside, (tokens_NT.astype(np.uint64) + places) * _MULTIPLIER, np.uint64(0))
    mixed ^= mixed >> np.uint64(32)
    hashes = (mixed * _MULTIPLIER).sum(axis=1, dtype=np.uint64) * _STEP
    first = (lengths > 1) & opened
    places_N: Ids = first + ((hashes >> np.uint64(32)).astype(np.int64) % (lengths - first))
    return places_N


def _classes(text: str) -> list[int]:
    counts = [0] * len(CLASSES)
    for character in text:
        counts[_class_of(character)] += 1
    return counts


def _class_of(character: str) -> int:
    if character.isalpha():
        return 0
    if character.isdecimal():
        return 1
    if unicodedata.category(character)[0] in "PS":
        return 2
    return 3 if character.isspace() else 4


def _unknown(preprocessing: TextPreprocessing | PairPreprocessing) -> int | None:
    """The token of what train does not have; symbols of pairs are refused, bytes cover everything."""
    if preprocessing.kind == "pairs":
        return None
    return 0 if preprocessing.tokenizer.kind in ("character", "word") else None


def _opened(preprocessing: TextPreprocessing | PairPreprocessing) -> bool:
    return preprocessing.kind == "text" and preprocessing.whole


def _token_texts(preprocessing: TextPreprocessing | PairPreprocessing) -> list[str]:
    """The text of each token of the vocabulary; nothing for those that stand for none."""
    if preprocessing.kind == "pairs":
        texts = ["", "", "", *preprocessing.symbols]
        return texts
    tokenizer = preprocessing.tokenizer
    if tokenizer.kind == "byte":
        texts = [chr(byte) if byte < 128 else "\ufffd" for byte in range(256)]
    elif tokenizer.kind == "character":
        texts = ["", *tokenizer.characters]
    elif tokenizer.kind == "word":
        texts = ["", *tokenizer.words]
    else:
        texts = [tokenizer.decode([number]) for number in range(tokenizer.size)]
    return texts + [""] * (preprocessing.vocabulary_size - len(texts))
