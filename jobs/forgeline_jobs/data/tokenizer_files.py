"""Tokenizers of published models: the tokenizer.json that lies beside their weights, here or on the hub."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from forgeline.errors import DataError
from forgeline.preprocessing.tokenization import FileTokenizer
from forgeline_architectures import hub

KEY = "data.tokenizer_file"
NAME = hub.TOKENIZER[0]
# How the token that closes a document is written: GPT-2, LLaMA 1 and 2, LLaMA 3, our own BPE, BERT.
ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<|end|>", "[SEP]")


def from_anywhere(place: str) -> str:
    """A path made absolute, since workers run in folders of their own; a model of the hub as it is."""
    if place.startswith(hub.PREFIX):
        return place
    # Unlike Path.expanduser, this leaves the name of an unknown user alone.
    return str(Path(os.path.expanduser(place)).absolute())  # noqa: PTH111


def read_tokenizer(place: str, *, vocabulary: int | None, documents: bool) -> FileTokenizer:
    """The tokenizer of a file, of a checkpoint folder that holds one, or of a model of the hub.

    Args:
        place: path, or `hub:ORG/MODEL`.
        vocabulary: rows of the model's table, where they are more than the tokens; None for as many.
        documents: whether a token is needed that closes a document.

    Raises:
        DataError: there is none, it cannot be read, or it does not have what is needed.
    """
    path = _file(place)
    try:
        definition = path.read_text(encoding="utf-8")
        tokenizer = FileTokenizer.of(definition)
        special = [token for token in json.loads(definition).get("added_tokens") or () if token.get("special")]
    except Exception as error:  # the Rust side raises bare exceptions
        raise DataError(f"`{path}` is not a readable {NAME}: {error}", key=KEY) from error
    if vocabulary is not None and vocabulary < tokenizer.size:
        raise DataError(
            f"vocabulary is {vocabulary}, and `{path}` numbers {tokenizer.size} tokens; leave it out, or give the rows "
            "of the model's table where these are more",
            key="data.vocabulary",
        )
    end = _end(special)
    if documents and end is None:
        raise DataError(
            f"`{path}` has no token that closes a document (known: {', '.join(ENDS)}); give one running text, or "
            "another tokenizer",
            key=KEY,
        )
    return tokenizer.model_copy(update={"size": vocabulary or tokenizer.size, "end": end if documents else None})


def _file(place: str) -> Path:
    if place.startswith(hub.PREFIX):
        try:
            path = hub.fetch(place, hub.TOKENIZER, key=KEY) / NAME
        except ValueError as error:
            raise DataError(str(error), key=KEY) from error
    else:
        path = Path(place) / NAME if Path(place).is_dir() else Path(place)
    if not path.is_file():
        raise DataError(
            f"there is no file `{path}`; wanted: a {NAME}, a folder that holds one, or {hub.PREFIX}ORG/MODEL", key=KEY
        )
    return path


def _end(special: list[dict[str, Any]]) -> int | None:
    numbers = {token["content"]: token["id"] for token in special}
    return next((int(numbers[name]) for name in ENDS if name in numbers), None)
