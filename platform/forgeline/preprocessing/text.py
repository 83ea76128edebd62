"""Text for a model: a tokenizer fitted on the train text, and the context length that the model reads.

A prompt longer than the context keeps its end, which is what the next token follows from. A text that is read as a
whole, to be classified or to have its gaps filled, begins with a token of its own and keeps its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.reading import existing, read_json_lines, read_text
from forgeline.preprocessing.target import Floats
from forgeline.preprocessing.tokenization import Ids, Tokenizer

if TYPE_CHECKING:
    import pandas as pd

TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
MASK = "[MASK]"


class TextPreprocessing(FittedPreprocessing):
    """`tokens` [n, T] int64 with `length` [n] from texts.

    Attributes:
        tokenizer: fitted on train.
        context: most tokens of a text.
        field: of a JSONL line.
        whole: whether a text is read as a whole; two more tokens are known then, `mask` and `first`.
        tagged: whether the classes of `target` are those of each token, not of the text.
    """

    kind: Literal["text"] = "text"
    tokenizer: Tokenizer
    context: int = Field(ge=1)
    field: str = "text"
    whole: bool = False
    tagged: bool = False

    def encode(self, raw: str | Sequence[str]) -> Arrays:
        """Texts -> their last `context` tokens, filled up on the right by token 0 behind `length`.

        Of a text that is read as a whole, the first ones behind `first`; `[MASK]` in it is a gap.

        Raises:
            DataError: a text has no token at all.
        """
        texts = [raw] if isinstance(raw, str) else list(raw)
        rows = [self.encode_text(text) for text in texts]
        for number, row in enumerate(rows):
            if not len(row):
                raise DataError(f"text {number} is empty; a model needs at least one token to read")
        rows = [self.opened(row) if self.whole else row[-self.context :] for row in rows]
        lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
        tokens = np.zeros((len(rows), int(lengths.max(initial=0))), dtype=np.int64)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return {"tokens": tokens, "length": lengths}

    def encode_text(self, text: str) -> Ids:
        """One text -> all its tokens."""
        if not self.whole:
            return self.tokenizer.encode(text)
        parts = [self.tokenizer.encode(part) for part in text.split(MASK)]
        gap = np.asarray([self.mask], dtype=np.int64)
        return np.concatenate([part for number, own in enumerate(parts) for part in ((gap, own) if number else (own,))])

    def opened(self, tokens: Ids) -> Ids:
        """A text's beginning behind the token `first`, `context` tokens in all."""
        return np.concatenate([[self.first], tokens[: self.context - 1]])

    def shown(self, tokens: Ids) -> str:
        """Tokens -> text with its gaps written out, as `encode` reads it."""
        places = np.flatnonzero(tokens == self.mask)
        return f" {MASK} ".join(self.decode_text(part[part < self.mask]) for part in np.split(tokens, places))

    @property
    def mask(self) -> int:
        """The token of a gap, of texts that are read as a whole."""
        return self.tokenizer.size

    @property
    def first(self) -> int:
        """The token that such a text begins with."""
        return self.tokenizer.size + 1

    def decode_text(self, ids: Sequence[int] | Ids) -> str:
        """Tokens -> text."""
        return self.tokenizer.decode(ids)

    def decode(self, outputs: Floats) -> pd.DataFrame:
        """A model's outputs -> a table.

        Probabilities of the next token, [n, V] or [n, T, V] (the last place counts), give its text and probability;
        those of classes, the class; those of the classes of tokens, [n, T, classes], one class after the other; tokens
        [n, T] of texts whose gaps were filled, the texts.
        """
        import pandas as pd

        if self.tagged:
            return pd.DataFrame({"prediction": [self._tags(row) for row in np.asarray(outputs)]}, dtype=object)
        if self.target is not None:
            return super().decode(outputs)
        if self.whole:
            texts = [self.decode_text([token for token in row if token < self.mask]) for row in outputs.tolist()]
            return pd.DataFrame({"prediction": texts}, dtype=object)
        last = np.asarray(outputs)
        last = last[:, -1] if last.ndim == 3 else last
        best = last.argmax(axis=1)
        texts = [self.decode_text([int(token)]) for token in best]
        return pd.DataFrame({"prediction": texts, "probability": last[np.arange(len(best)), best]})

    def _tags(self, probabilities: Floats) -> str:
        """The class of each token of a text [T, classes], with a space between them; rows of zeros are no tokens."""
        names = self.classes or ()
        return " ".join(names[row.argmax()] for row in probabilities if row.any())

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return self.tokenizer.size + (2 if self.whole else 0)

    @property
    def end(self) -> int | None:
        """The token that closes a document, where the training data had documents."""
        return self.tokenizer.end

    def read(self, path: str | Path) -> list[str]:
        """A text file (one text), a JSONL file (one per line), or a folder of text files (one each)."""
        return read_documents(existing(path), self.field)

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """One column of text in and out."""
        outputs = [{"name": "prediction", "type": "string"}]
        if self.target is not None and not self.tagged:
            outputs = self.target.columns()
        elif not self.whole:
            outputs.append({"name": "probability", "type": "float"})
        return {
            "kind": "text",
            "inputs": [{"name": "text", "type": "string", "required": True}],
            "outputs": outputs,
            "vocabulary": self.vocabulary_size,
            "context": self.context,
        }


def read_documents(place: Path, field: str, *, key: str | None = None, field_key: str | None = None) -> list[str]:
    """The documents of a text file, a JSONL file, or a folder of such files in the order of their paths."""
    if place.is_dir():
        allowed = (*TEXT_SUFFIXES, *JSON_LINES_SUFFIXES)
        files = sorted(p for p in place.rglob("*") if p.suffix.lower() in allowed and not p.name.startswith("."))
        texts = [text for file in files for text in read_documents(file, field, key=key, field_key=field_key)]
        if not texts:
            raise DataError(f"`{place}` holds no text; allowed: {', '.join(allowed)}", key=key)
        return texts
    if place.suffix.lower() in JSON_LINES_SUFFIXES:
        return read_json_lines(place, field, key=key, field_key=field_key)
    return [read_text(place, key=key)]
