"""Secrets are hidden by the name of their key and by their place in a URL; everything else stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgeline.masking import masked, redact_source
from forgeline.spec.source import read_document

SPECS = sorted((Path(__file__).parents[2] / "jobs" / "specs").rglob("*.yaml"))


def test_plain_data_lose_their_secrets() -> None:
    tree = {
        "data": {"url": "s3://me:pw@store/x", "password": "hunter2", "tokenizer": "bpe", "max_tokens": 5},
        "sources": [{"api_key": ["a", "b"]}, "https://h/?token=abc"],
        "secret": {"deeper": 1, "none": None},
    }
    assert masked(tree) == {
        "data": {"url": "s3://***@store/x", "password": "***", "tokenizer": "bpe", "max_tokens": 5},
        "sources": [{"api_key": ["***", "***"]}, "https://h/?token=***"],
        "secret": {"deeper": "***", "none": None},
    }


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_without_secrets_is_not_touched(path: Path) -> None:
    spec = read_document(path).data
    assert masked(spec) == spec


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('+password = "hunter2"', '+password = "***"'),
        ("+    token: str = 'abc'", "+    token: str = '***'"),
        ('-  "api_key": "abc",', '-  "api_key": "***",'),
        ("+HF_TOKEN=abc", "+HF_TOKEN=***"),
        ("+  password: hunter2", "+  password: ***"),
        ("+url = 'postgresql://me:pw@h/x'", "+url = 'postgresql://***@h/x'"),
    ],
)
def test_a_diff_loses_its_secrets(line: str, shown: str) -> None:
    assert redact_source(f"+before\n{line}\n+after\n") == f"+before\n{shown}\n+after\n"


@pytest.mark.parametrize(
    "line",
    [
        "token = next(tokens)",
        "def decode(token: int) -> str:",
        "    token: str",
        "self.token = token",
        'key = os.environ["API_KEY"]',
        "max_tokens: 5",
        "tokenizer: bpe",
        "encode(token=token, width=3)",
    ],
)
def test_code_about_tokens_is_not_touched(line: str) -> None:
    assert redact_source(line) == line
