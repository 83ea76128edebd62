"""Tokenizers, each JSON as a whole: bytes, characters, words, byte-level BPE, and those of published models.

`end` is the token that closes a document; a tokenizer fitted on one running text has none. Only characters and
words can be unknown (number 0, shown as U+FFFD): bytes and byte-level BPE cover every text. BPE and what published
models have goes through the `tokenizers` package.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import tokenizers

Ids = NDArray[np.int64]
_END_TEXT = "<|end|>"
# Letters and digits with apostrophes inside them (`o'er`), or one mark.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_")


class ByteTokenizer(BaseModel):
    """The 256 bytes of UTF-8."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["byte"] = "byte"
    end: int | None = None

    @classmethod
    def fit(cls, *, documents: bool) -> ByteTokenizer:
        """Nothing to learn; `documents` adds the closing token."""
        return cls(end=256 if documents else None)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return 256 if self.end is None else 257

    def encode(self, text: str) -> Ids:
        """Text -> token numbers."""
        return np.frombuffer(text.encode("utf-8", errors="surrogatepass"), dtype=np.uint8).astype(np.int64)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Token numbers -> text; broken sequences become U+FFFD, the closing token is left out."""
        return bytes(int(i) for i in ids if 0 <= int(i) < 256).decode("utf-8", errors="replace")


class CharacterTokenizer(BaseModel):
    """The characters of the train text; number 0 is every other one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["character"] = "character"
    characters: str
    end: int | None = None

    @classmethod
    def fit(cls, texts: Iterable[str], *, documents: bool) -> CharacterTokenizer:
        """The sorted characters of the texts, numbered from 1."""
        characters = "".join(sorted(set().union(*(set(text) for text in texts))))
        return cls(characters=characters, end=len(characters) + 1 if documents else None)

    @property
    def size(self) -> int:
        """Number of tokens, the unknown one included."""
        return len(self.characters) + (1 if self.end is None else 2)

    def encode(self, text: str) -> Ids:
        """Text -> token numbers, 0 for a character that train does not have."""
        points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
        return _character_table(self.characters)[np.minimum(points, _LAST_POINT)]

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Token numbers -> text."""
        shown = "\ufffd" + self.characters
        return "".join(shown[int(i)] for i in ids if 0 <= int(i) < len(shown))


class WordTokenizer(BaseModel):
    """Lower-case words and marks of the train text; number 0 is every other one. How they were spaced is lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["word"] = "word"
    words: tuple[str, ...]
    end: int | None = None

    @classmethod
    def fit(cls, texts: Iterable[str], *, vocabulary: int, documents: bool) -> WordTokenizer:
        """The most frequent words, up to `vocabulary` tokens, numbered from 1 by how often they occur."""
        counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
        room = vocabulary - (2 if documents else 1)
        words = tuple(sorted(counts, key=lambda word: (-counts[word], word))[:room])
        return cls(words=words, end=len(words) + 1 if documents else None)

    @property
    def size(self) -> int:
        """Number of tokens, the unknown one included."""
        return len(self.words) + (1 if self.end is None else 2)

    def encode(self, text: str) -> Ids:
        """Text -> token numbers, 0 for a word that train does not have."""
        numbers = _word_numbers(self.words)
        return np.asarray([numbers.get(word, 0) for word in _WORD.findall(text.lower())], dtype=np.int64)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Token numbers -> words with a space between them."""
        shown = ("\ufffd", *self.words)
        return " ".join(shown[int(i)] for i in ids if 0 <= int(i) < len(shown))


class BpeTokenizer(BaseModel):
    """Byte-level byte-pair encoding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bpe"] = "bpe"
    definition: str
    size: int
    end: int | None = None

    @classmethod
    def fit(cls, texts: Iterable[str], *, vocabulary: int, documents: bool) -> BpeTokenizer:
        """Merges learned on the texts, up to `vocabulary` tokens (fewer when the text has no more pairs)."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[_END_TEXT] if documents else [],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        end = tokenizer.token_to_id(_END_TEXT) if documents else None
        return cls(definition=tokenizer.to_str(), size=tokenizer.get_vocab_size(), end=end)

    def encode(self, text: str) -> Ids:
        """Text -> token numbers; the closing token's name in a text is only text."""
        # A lone surrogate has no UTF-8 form and would be refused by the Rust side.
        clean = text.encode("utf-8", errors="replace").decode("utf-8")
        parts = clean.split(_END_TEXT) if self.end is not None else [clean]
        if len(parts) > 1:
            clean = f"{_END_TEXT[:2]}\u200b{_END_TEXT[2:]}".join(parts)
        return np.asarray(_bpe(self.definition).encode(clean).ids, dtype=np.int64)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Token numbers -> text, the closing token left out."""
        kept = [int(i) for i in ids if 0 <= int(i) < self.size and int(i) != self.end]
        return str(_bpe(self.definition).decode(kept, skip_special_tokens=True))


class FileTokenizer(BaseModel):
    """A published model's tokenizer; nothing of it is fitted. Names of special tokens in a text are only text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["file"] = "file"
    definition: str
    size: int
    end: int | None = None

    @classmethod
    def of(cls, definition: str) -> FileTokenizer:
        """From the content of a tokenizer.json."""
        numbers = _published(definition).get_vocab(with_added_tokens=True).values()
        return cls(definition=definition, size=max(numbers, default=-1) + 1)

    def encode(self, text: str) -> Ids:
        """Text -> token numbers, without those that the model's own library puts around a text."""
        # A lone surrogate has no UTF-8 form and would be refused by the Rust side.
        clean = text.encode("utf-8", errors="replace").decode("utf-8")
        return np.asarray(_published(self.definition).encode(clean, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Token numbers -> text, special tokens and rows of the table that are no token left out."""
        kept = [int(i) for i in ids if 0 <= int(i) < self.size and int(i) != self.end]
        return str(_published(self.definition).decode(kept, skip_special_tokens=True))


Tokenizer = Annotated[
    ByteTokenizer | CharacterTokenizer | WordTokenizer | BpeTokenizer | FileTokenizer, Field(discriminator="kind")
]

_LAST_POINT = 0x10FFFF


@lru_cache(maxsize=8)
def _character_table(characters: str) -> Ids:
    table = np.zeros(_LAST_POINT + 1, dtype=np.int64)
    table[[ord(character) for character in characters]] = np.arange(1, len(characters) + 1)
    return table


@lru_cache(maxsize=8)
def _word_numbers(words: tuple[str, ...]) -> Mapping[str, int]:
    return {word: number for number, word in enumerate(words, start=1)}


@lru_cache(maxsize=8)
def _bpe(definition: str) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Rust

    loaded: tokenizers.Tokenizer = Rust.from_str(definition)
    return loaded


@lru_cache(maxsize=8)
def _published(definition: str) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Rust

    loaded: tokenizers.Tokenizer = Rust.from_str(definition)
    loaded.encode_special_tokens = True
    loaded.no_truncation()
    loaded.no_padding()
    return loaded
