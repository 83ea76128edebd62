"""A user's text: one running text, a folder or JSONL, and every way in which it can be wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeline import metrics
from forgeline.errors import DataError
from forgeline.preprocessing import load_preprocessing
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.sources import TEXT, TINYSHAKESPEARE

PROSE = "It was the best of times, it was the worst of times. " * 40


def prepare(path: Path, **settings: Any) -> PreparedData:
    given = {"name": "text", "path": str(path), "batch_size": 2, "context": 16, **settings}
    return TEXT.prepare(TEXT.config_model().model_validate(given))


def refusal(path: Path, **settings: Any) -> tuple[str | None, str]:
    with pytest.raises(DataError) as caught:
        prepare(path, **settings)
    return caught.value.key, caught.value.message


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("tokenizer", "vocabulary"), [("byte", 256), ("character", 18), ("bpe", 300)])
def test_one_running_text(tmp_path: Path, tokenizer: str, vocabulary: int) -> None:
    extra = {"vocabulary": 300} if tokenizer == "bpe" else {}
    data = prepare(written(tmp_path / "a.txt", PROSE * 5), tokenizer=tokenizer, **extra)
    assert data.summary["tokenizer"] == tokenizer and data.signature.outputs[0] <= vocabulary
    batch = data.splits["train"].batch(np.arange(2), (0, 0))
    assert batch["tokens"].shape == (2, 16) and (batch["tokens"][:, 1:] == batch["target"][:, :-1]).all()
    text = data.preprocessing.decode_text(batch["tokens"][0])  # type: ignore[union-attr]
    assert text in PROSE * 5


def test_the_tokenizer_never_sees_val_and_test(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", PROSE + "ü" + "e" * 40)
    data = prepare(path, tokenizer="character", context=4)
    assert "ü" not in data.preprocessing.tokenizer.characters  # type: ignore[union-attr]
    assert data.summary["unknown"]["test"] > 0


def documents(tmp_path: Path, form: str, count: int = 30) -> Path:
    texts = [f"document {number} says {'word ' * (number % 7)}." for number in range(count)]
    if form == "jsonl":
        return written(tmp_path / "d.jsonl", "\n".join(json.dumps({"text": text}) for text in texts))
    (tmp_path / "d").mkdir()
    for number, text in enumerate(texts):
        written(tmp_path / "d" / f"{number:02}.txt", text)
    return tmp_path / "d"


@pytest.mark.parametrize("packed", [True, False])
def test_documents_in_a_folder_or_jsonl_are_the_same(tmp_path: Path, packed: bool) -> None:
    prepared = [prepare(documents(tmp_path, form), packed=packed) for form in ("jsonl", "folder")]
    assert prepared[0].fingerprint == prepared[1].fingerprint
    batch = prepared[0].splits["train"].batch(np.arange(3))
    assert ("segments" in batch) == packed == ("segments" in prepared[0].signature.inputs)
    assert prepared[0].preprocessing.end == 256  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "settings", "key", "message"),
    [
        (b"", {}, "data.path", "is empty"),
        (b"ok\n caf\xe9 " * 50, {}, "data.path", "not UTF-8: byte 0xe9 at offset 7 (line 2)"),
        (PROSE.encode(), {"context": 500}, "data.context", "the val part of"),
        (b"short", {}, "data.context", "5 characters, shorter than"),
        (PROSE.encode(), {"packed": True}, "data.packed", "packed needs documents"),
        ((PROSE + "\u4e2d\u6587" * 100).encode(), {"tokenizer": "character"}, "data.tokenizer", "are not in train"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, settings: dict[str, Any], key: str, message: str) -> None:
    got_key, got = refusal(written(tmp_path / "a.txt", content), **settings)
    assert (got_key, message in got) == (key, True), got


def test_json_lines_refusals(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"body": "x"}\n')
    assert refusal(path, field="bdy") == ("data.field", f"`{path}` line 1 has no field 'bdy'; did you mean `body`?")
    assert "is int, wanted a text" in refusal(written(path, '{"text": 1}'))[1]
    assert "line 2 is not JSON" in refusal(written(path, '{"text": "a"}\n{'))[1]
    assert "has 2 documents; wanted at least 3" in refusal(written(path, '{"text": "a"}\n{"text": "b"}'))[1]
    (tmp_path / "e").mkdir()
    assert "holds no text" in refusal(tmp_path / "e")[1]
    with pytest.raises(ValueError, match="vocabulary is for `tokenizer: word`, `bpe` and `file` only"):
        prepare(path, vocabulary=300)


def test_shakespeare_in_other_tokens() -> None:
    config = TINYSHAKESPEARE.config_model().model_validate(
        {"name": "tinyshakespeare", "tokenizer": "bpe", "vocabulary": 300}
    )
    data = TINYSHAKESPEARE.prepare(config)
    assert data.signature.outputs == (300,) and data.summary["tokens"]["test"] < 111_540


@pytest.mark.parametrize(
    ("tokenizer", "lowest", "highest"), [("character", 1.0, 1.0), ("byte", 1.01, 1.2), ("bpe", 0.01, 0.9)]
)
@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_tokens_per_character(tmp_path: Path, tokenizer: str, lowest: float, highest: float, form: str) -> None:
    text = "Ein schöner Tag für müde Bären. " * 40
    lines = "\n".join(json.dumps({"text": text[:90]}) for _ in range(20))
    path = written(tmp_path / f"a.{form}", lines if form == "jsonl" else text)
    data = prepare(path, tokenizer=tokenizer, context=4)
    closing = 1 / 90 if form == "jsonl" else 0.0  # one token closes each document
    assert all(lowest <= round(ratio - closing, 9) <= highest for ratio in data.tokens_per_character.values())
    assert load_preprocessing(json.loads(data.preprocessing.model_dump_json())) == data.preprocessing


def test_bits_per_character_are_those_of_the_split_that_was_measured(tmp_path: Path) -> None:
    # BPE learns English words whole; of the Russian end it knows single bytes only, two for each letter.
    path = written(tmp_path / "two.txt", "the cat sat on the mat. " * 200 + "кот на ковре " * 60)
    data = prepare(path, tokenizer="bpe", vocabulary=300, context=4, split={"val": 0.05, "test": 0.1})
    ratios = data.tokens_per_character
    assert ratios["test"] > 1.5 > 1 > ratios["train"]
    measured = metrics.from_loss("language_modelling", math.log(2), tokens_per_character=ratios["test"])
    assert measured["bits_per_character"] == pytest.approx(ratios["test"])


def test_the_default_vocabulary_can_be_written_and_read_again() -> None:
    for tokenizer in ("byte", "character", "bpe"):
        config = TINYSHAKESPEARE.config_model().model_validate({"name": "tinyshakespeare", "tokenizer": tokenizer})
        assert type(config).model_validate(config.model_dump()) == config
