"""Sequences of symbols that are turned into others: spelling into sounds, a text into its reverse.

Source and target share one vocabulary. Its first numbers are padding, start and end, the same for every vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.reading import counted, existing, read_text, text_lines
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Ids = NDArray[np.int64]
PADDING, START, END = 0, 1, 2
RESERVED = 3


class PairPreprocessing(FittedPreprocessing):
    """`source` [n, S] int64 with `length` [n] from texts; tokens of a target back into text.

    Attributes:
        symbols: the vocabulary, numbered from 3.
        source_length: most symbols of a source.
        target_length: most tokens of a target, the end token counted.
        source_separator: between two symbols of a source; nothing where each character is one.
        target_separator: between two symbols of a target.
    """

    kind: Literal["pairs"] = "pairs"
    symbols: tuple[str, ...]
    source_length: int = Field(ge=1)
    target_length: int = Field(ge=1)
    source_separator: str = ""
    target_separator: str = ""

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols, start=RESERVED)}

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, the reserved ones included."""
        return RESERVED + len(self.symbols)

    def encode(self, raw: str | Sequence[str]) -> Arrays:
        """Sources -> their tokens, filled up on the right behind `length`.

        Raises:
            DataError: one is empty, too long, or has a symbol that train does not have.
        """
        texts = [raw] if isinstance(raw, str) else list(raw)
        return self.encode_sources([self._split(text, self.source_separator) for text in texts])

    def encode_sources(self, sources: Iterable[Sequence[str]]) -> Arrays:
        """`encode` for sources that are symbols already."""
        rows = [self._row(symbols, number, self.source_length) for number, symbols in enumerate(sources)]
        return {
            "source": _filled(rows, self.source_length),
            "length": np.asarray([len(row) for row in rows], dtype=np.int64),
        }

    def encode_targets(self, targets: Iterable[Sequence[str]]) -> Ids:
        """[n, target_length] tokens of targets that are symbols already, each closed by the end token."""
        rows = [[*self._row(symbols, number, self.target_length - 1), END] for number, symbols in enumerate(targets)]
        return _filled(rows, self.target_length)

    def decode_tokens(self, tokens: Ids) -> str:
        """One target up to its end token, as text."""
        symbols = []
        for token in tokens.tolist():
            if token in (PADDING, END):
                break
            # A model may write the start token; it is no symbol.
            symbols += [self.symbols[token - RESERVED]] if token >= RESERVED else []
        return self.target_separator.join(symbols)

    def decode(self, outputs: NDArray[Any]) -> pd.DataFrame:
        """Tokens [n, T] of targets -> their text."""
        import pandas as pd

        return pd.DataFrame({"prediction": [self.decode_tokens(row) for row in np.asarray(outputs)]}, dtype=object)

    def read(self, path: str | Path) -> list[str]:
        """A text file with a source per line; blank lines are passed over.

        Raises:
            DataError: it cannot be read, or has no line.
        """
        place = existing(path)
        if place.is_dir():
            raise DataError(f"`{place}` is a folder; wanted: a text file with one source per line")
        lines = [line.strip() for line in text_lines(read_text(place)) if line.strip()]
        if not lines:
            raise DataError(f"`{place}` has no line with a source")
        return lines

    def row_labels(self, raw: Any) -> pd.DataFrame:
        """The source beside what was made of it."""
        import pandas as pd

        return pd.DataFrame({"source": [raw] if isinstance(raw, str) else list(raw)})

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """One column of text in and out."""
        return {
            "kind": "pairs",
            "inputs": [{"name": "text", "type": "string", "required": True}],
            "outputs": [{"name": "source", "type": "string"}, {"name": "prediction", "type": "string"}],
            "vocabulary": self.vocabulary_size,
            "longest": self.source_length,
        }

    @staticmethod
    def _split(text: str, separator: str) -> list[str]:
        return list(text) if not separator else [part for part in text.split(separator) if part]

    def _row(self, symbols: Sequence[str], number: int, longest: int) -> list[int]:
        if not 1 <= len(symbols) <= longest:
            raise DataError(
                f"{counted('sequence', number)} has {len(symbols)} symbols; allowed: 1 to {longest}, the most that the "
                "training data have"
            )
        try:
            return [self._numbers[symbol] for symbol in symbols]
        except KeyError as error:
            raise DataError(
                f"{counted('sequence', number)} has the symbol {error.args[0]!r}, which the training data do not have; "
                f"{did_you_mean(error.args[0], self.symbols)}"
            ) from error


def _filled(rows: Sequence[Sequence[int]], length: int) -> Ids:
    """[n, length] tokens of rows of different lengths."""
    tokens = np.full((len(rows), length), PADDING, dtype=np.int64)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
    return tokens
