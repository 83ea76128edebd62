"""Text for language models: a running text cut by position, or documents drawn at random into the splits.

The tokenizer is fitted on the train part only. A character that train does not have is read as the unknown one; its
share in val and test is in the summary, and above `_MOST_UNKNOWN` the data are refused, since a loss over tokens that
could not be learned says little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing import PairPreprocessing, TextPreprocessing
from forgeline.preprocessing.pairs import RESERVED
from forgeline.preprocessing.reading import existing
from forgeline.preprocessing.text import JSON_LINES_SUFFIXES, read_documents
from forgeline.preprocessing.tokenization import (
    BpeTokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    Tokenizer,
    WordTokenizer,
)
from forgeline_architectures.signature import Signature, Task, TensorSpec
from forgeline_jobs.data.base import SPLITS, DataConfig, Indices, PreparedData, Split, SplitConfig
from forgeline_jobs.data.fingerprint import Fingerprint
from forgeline_jobs.data.objectives import MaskedWindows, SpanWindows, span_counts
from forgeline_jobs.data.packing import PackedSplit
from forgeline_jobs.data.pairs import pair_signature
from forgeline_jobs.data.splits import SplitIndices, chronological_split, random_split
from forgeline_jobs.data.tokenizer_files import from_anywhere, read_tokenizer
from forgeline_jobs.data.windows import EvalWindows, TrainWindows

_MOST_UNKNOWN = 0.05
DEFAULT_VOCABULARY = 4096
_LEARNED = ("bpe", "word")  # tokenizers whose vocabulary has a size to choose
TokenizerKind = Literal["byte", "character", "word", "bpe", "file"]
Objective = Literal["next", "masked", "spans"]
_SHORTEST = 8  # tokens of a sample in which some are hidden
_BPE_PIECE = 10_000  # characters of a running text that the BPE trainer is given at a time


class TokenConfig(DataConfig):
    """How text becomes samples."""

    tokenizer: TokenizerKind = Field(default="byte", description="What a token is.")
    tokenizer_file: str | None = Field(
        default=None,
        description="For `tokenizer: file`: a published model's tokenizer.json, a folder that holds one, or "
        "`hub:ORG/MODEL`.",
    )
    vocabulary: int | None = Field(
        default=None,
        ge=257,
        le=1_000_000,
        description=f"Most tokens that words or BPE have; {DEFAULT_VOCABULARY} when not given. Of `tokenizer: file`, "
        "rows of the model's table where these are more than its tokens. Other tokenizers take none.",
    )
    context: int = Field(default=256, ge=1, description="Tokens per sample, the most that the model looks back.")
    objective: Objective = Field(
        default="next",
        description="What is learnt: the next token, hidden tokens (BERT), or spans that are left out (T5).",
    )

    @model_validator(mode="after")
    def _vocabulary_is_learned(self) -> Self:
        if self.vocabulary is not None and self.tokenizer not in (*_LEARNED, "file"):
            raise ValueError(
                f"vocabulary is for `tokenizer: word`, `bpe` and `file` only, got tokenizer {self.tokenizer!r}"
            )
        return self

    @field_validator("tokenizer_file")
    @classmethod
    def _file_from_anywhere(cls, value: str | None) -> str | None:
        return None if value is None else from_anywhere(value)

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if (self.tokenizer == "file") != (self.tokenizer_file is not None):
            raise ValueError(
                f"`tokenizer: file` and tokenizer_file go together, got tokenizer {self.tokenizer!r} and "
                f"tokenizer_file {self.tokenizer_file!r}"
            )
        if self.tokenizer == "file" and self.objective != "next":
            raise ValueError(f"`tokenizer: file` is for objective next, got {self.objective}")
        return self

    @model_validator(mode="after")
    def _objective_fits(self) -> Self:
        if self.objective == "spans" and self.tokenizer != "word":
            raise ValueError(f"objective spans needs `tokenizer: word`, got tokenizer {self.tokenizer!r}")
        if self.objective != "next" and self.context < _SHORTEST:
            raise ValueError(f"objective {self.objective} needs a context of at least {_SHORTEST}, got {self.context}")
        return self


class TextConfig(TokenConfig):
    """Text of the user's own."""

    path: str = Field(description="Text file, folder of text files, or JSONL.")
    field: str = Field(default="text", description="Field of a JSONL line that holds the text.")
    packed: bool = Field(default=False, description="Pack whole documents into rows, attention kept within each.")
    split: SplitConfig = Field(
        default=SplitConfig(val=0.05, test=0.1),
        description="How text is held out: the end of one running text, or whole documents at random.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Text that was read.

    Args:
        texts: the documents, or one running text.
        documents: whether the texts are apart from each other.
        where: what a message calls the text.
        field: field of a JSONL file that prediction reads.
    """

    texts: list[str]
    documents: bool
    where: str
    field: str = "text"


def prepare_text(config: TextConfig) -> PreparedData:
    """Read and prepare a user's text.

    Raises:
        DataError: the path is missing, not UTF-8, or has too little text.
    """
    place = existing(config.path, key="data.path")
    texts = read_documents(place, config.field, key="data.path", field_key="data.field")
    documents = place.is_dir() or place.suffix.lower() in JSON_LINES_SUFFIXES
    corpus = Corpus(texts=texts, documents=documents, where=f"`{place}`", field=config.field)
    return prepare_corpus(corpus, config, split=config.split, packed=config.packed)


def prepare_corpus(corpus: Corpus, config: TokenConfig, *, split: SplitConfig, packed: bool = False) -> PreparedData:
    """Split, tokenise and window text."""
    texts = [text for text in corpus.texts if text]
    documents, where = corpus.documents, corpus.where
    _check_corpus(texts, corpus, config, packed)
    parts = _split_documents(texts, split, where) if documents else split_text(texts[0], split, where)
    tokenizer = _fit_tokenizer(parts["train"], config, documents)
    splits: dict[str, Split] = {}
    tokens: dict[str, int] = {}
    running: dict[str, Indices] = {}
    for name in SPLITS:
        encoded = [_closed(tokenizer.encode(text), tokenizer.end) for text in parts[name]]
        tokens[name] = sum(len(ids) for ids in encoded)
        if name != "train":
            _check_unknown(tokenizer, encoded, name)
        _check_length(tokens[name], config.context, name, where)
        running[name] = np.concatenate(encoded)
        splits[name] = _windows(name, encoded, config.context, packed)
    summary: dict[str, Any] = {
        "samples": {name: len(part) for name, part in splits.items()},
        "task": "language_modelling",
        "tokenizer": tokenizer.kind,
        "vocabulary": tokenizer.size,
        "context": config.context,
        "tokens": tokens,
        "characters": {name: sum(len(text) for text in parts[name]) for name in SPLITS},
        "unknown": _unknown_shares(tokenizer, parts),
    }
    if config.objective != "next":
        described = Described(_fingerprint(texts, documents), summary, parts["train"][0])
        return _OBJECTIVES[config.objective](tokenizer, running, config, corpus, described)
    if isinstance(rows := splits["train"], PackedSplit):
        summary["packed_fill"] = round(rows.fill, 4)
    token_row = TensorSpec(shape=(config.context,), dtype="int64")
    return PreparedData(
        signature=Signature(
            task="language_modelling",
            inputs={"tokens": token_row} | ({"segments": token_row} if packed else {}),
            outputs=(tokenizer.size,),
        ),
        preprocessing=TextPreprocessing(
            tokenizer=tokenizer,
            context=config.context,
            field=corpus.field,
        ),
        splits=splits,
        fingerprint=_fingerprint(texts, documents),
        summary=summary,
        input_example=[parts["train"][0][: config.context]],
        tokens_per_character={name: tokens[name] / sum(len(text) for text in parts[name]) for name in SPLITS},
    )


def _check_corpus(texts: list[str], corpus: Corpus, config: TokenConfig, packed: bool) -> None:
    """Refuse what no split could be made of."""
    documents, where = corpus.documents, corpus.where
    if not texts:
        raise DataError(f"{where} has no text", key="data.path")
    if packed and config.objective != "next":
        raise DataError(f"packed is for objective next, got {config.objective}; set packed to false", key="data.packed")
    if packed and not documents:
        raise DataError(
            f"packed needs documents (a folder or JSONL), {where} is one running text; set packed to false",
            key="data.packed",
        )
    if not documents and len(texts[0].encode("utf-8", "surrogatepass")) <= config.context:
        raise DataError(
            f"{where} has {len(texts[0])} characters, shorter than the context of {config.context} tokens and the one "
            "after it; set context lower or bring more text",
            key="data.context",
        )


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of a text whatever is learnt from it.

    Attributes:
        fingerprint: of the text.
        summary: counts of its splits.
        beginning: of the train part.
    """

    fingerprint: str
    summary: dict[str, Any]
    beginning: str


def _masked(
    tokenizer: Tokenizer, running: Mapping[str, Indices], config: TokenConfig, corpus: Corpus, described: Described
) -> PreparedData:
    preprocessing = TextPreprocessing(tokenizer=tokenizer, context=config.context, field=corpus.field, whole=True)
    splits: dict[str, Split] = {
        name: MaskedWindows(
            TrainWindows(running[name], config.context - 1),
            size=tokenizer.size,
            mask=preprocessing.mask,
            first=preprocessing.first,
            has_unknown=isinstance(tokenizer, CharacterTokenizer | WordTokenizer),
        )
        for name in SPLITS
    }
    task: Task = "masked_language_modelling"
    example = np.where(np.arange(config.context - 1) == 1, preprocessing.mask, running["train"][: config.context - 1])
    return PreparedData(
        signature=Signature(
            task=task,
            inputs={"tokens": TensorSpec(shape=(config.context,), dtype="int64")},
            outputs=(preprocessing.vocabulary_size,),
        ),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=described.fingerprint,
        summary=described.summary | {"task": task, "samples": {name: len(splits[name]) for name in SPLITS}},
        input_example=[preprocessing.shown(example)],
    )


def _spans(
    tokenizer: Tokenizer, running: Mapping[str, Indices], config: TokenConfig, corpus: Corpus, described: Described
) -> PreparedData:
    assert isinstance(tokenizer, WordTokenizer), tokenizer.kind
    out, spans = span_counts(config.context)
    closing = () if tokenizer.end is None else ("<end>",)
    sentinels = tuple(f"<{number}>" for number in range(spans + 1))
    preprocessing = PairPreprocessing(
        symbols=("<unknown>", *tokenizer.words, *closing, *sentinels),
        source_length=config.context - out + spans,
        target_length=out + spans + 2,
        source_separator=" ",
        target_separator=" ",
    )
    splits: dict[str, Split] = {
        name: SpanWindows(
            TrainWindows(running[name] + RESERVED, config.context),
            config.context,
            sentinel=RESERVED + tokenizer.size,
        )
        for name in SPLITS
    }
    task: Task = "translation"
    return PreparedData(
        signature=pair_signature(preprocessing),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=described.fingerprint,
        summary=described.summary | {"task": task, "samples": {name: len(splits[name]) for name in SPLITS}},
        input_example=[preprocessing.decode_tokens(splits["train"].batch(np.zeros(1, dtype=np.int64))["source"][0])],
    )


_OBJECTIVES: dict[Objective, Callable[..., PreparedData]] = {"masked": _masked, "spans": _spans}


def split_text(text: str, config: SplitConfig, where: str) -> dict[str, list[str]]:
    """By position: the end is test, what lies before it val."""
    if len(text) < len(SPLITS):
        raise DataError(f"{where} has {len(text)} characters; too few for train, val and test", key="data.path")
    return {name: [text[p[0] : p[-1] + 1]] for name, p in _named(chronological_split(len(text), config)).items()}


def _split_documents(texts: list[str], config: SplitConfig, where: str) -> dict[str, list[str]]:
    if len(texts) < len(SPLITS):
        raise DataError(
            f"{where} has {len(texts)} documents; wanted at least {len(SPLITS)}, one each for {', '.join(SPLITS)} "
            "(one running text goes into a single file, which is cut by position)",
            key="data.path",
        )
    return {name: [texts[i] for i in rows] for name, rows in _named(random_split(len(texts), config)).items()}


def _named(indices: SplitIndices) -> dict[str, Indices]:
    return {name: indices[name] for name in SPLITS}


def _fit_tokenizer(texts: list[str], config: TokenConfig, documents: bool) -> Tokenizer:
    if config.tokenizer_file is not None:
        return read_tokenizer(config.tokenizer_file, vocabulary=config.vocabulary, documents=documents)
    if config.tokenizer == "byte":
        return ByteTokenizer.fit(documents=documents)
    if config.tokenizer == "character":
        return CharacterTokenizer.fit(texts, documents=documents)
    if config.tokenizer == "word":
        return WordTokenizer.fit(texts, vocabulary=config.vocabulary or DEFAULT_VOCABULARY, documents=documents)
    pieces = (text[start : start + _BPE_PIECE] for text in texts for start in range(0, len(text), _BPE_PIECE))
    return BpeTokenizer.fit(pieces, vocabulary=config.vocabulary or DEFAULT_VOCABULARY, documents=documents)


def _closed(ids: Indices, end: int | None) -> Indices:
    return ids if end is None else np.append(ids, end)


def _windows(name: str, encoded: list[Indices], context: int, packed: bool) -> Split:
    if packed:
        return PackedSplit(encoded, context)
    running = np.concatenate(encoded)
    return TrainWindows(running, context) if name == "train" else EvalWindows(running, context)


def _fingerprint(texts: list[str], documents: bool) -> str:
    digest = Fingerprint()
    for text in texts:
        digest.add("document" if documents else "text", text.encode("utf-8", "surrogatepass"))
    return digest.hex()


def _check_length(tokens: int, context: int, name: str, where: str) -> None:
    needed = context + 1
    if tokens < needed:
        raise DataError(
            f"the {name} part of {where} has {tokens} tokens, a sample takes {needed} (context and the one after it); "
            f"set context below {max(tokens, 2)} or bring more text",
            key="data.context",
        )


def _check_unknown(tokenizer: Tokenizer, encoded: list[Indices], name: str) -> None:
    if not isinstance(tokenizer, CharacterTokenizer):
        return
    unknown = sum(int((ids == 0).sum()) for ids in encoded)
    share = unknown / max(sum(len(ids) for ids in encoded), 1)
    if share > _MOST_UNKNOWN:
        raise DataError(
            f"{share:.1%} of the characters of {name} are not in train; allowed: up to {_MOST_UNKNOWN:.0%}. "
            "`tokenizer: byte` knows every text",
            key="data.tokenizer",
        )


def _unknown_shares(tokenizer: Tokenizer, parts: dict[str, list[str]]) -> dict[str, float]:
    if isinstance(tokenizer, WordTokenizer):
        encoded = {name: np.concatenate([tokenizer.encode(text) for text in parts[name]]) for name in ("val", "test")}
        return {name: float((ids == 0).mean()) for name, ids in encoded.items()}
    if not isinstance(tokenizer, CharacterTokenizer):
        return dict.fromkeys(("val", "test"), 0.0)
    known = set(tokenizer.characters)
    return {
        name: sum(character not in known for text in parts[name] for character in text)
        / max(sum(len(text) for text in parts[name]), 1)
        for name in ("val", "test")
    }
