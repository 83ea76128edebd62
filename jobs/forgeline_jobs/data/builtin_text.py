"""Tiny Shakespeare, which comes inside the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from forgeline_jobs.data.base import SPLITS, PreparedData, SplitConfig, SplitName
from forgeline_jobs.data.text import Corpus, TokenConfig, TokenizerKind, prepare_corpus, split_text

# The last tenth is held out by convention (Karpathy's char-rnn and nanoGPT), so it is not for a spec to change.
_TEST = 0.1
WHERE = "tinyshakespeare"


class ValConfig(BaseModel):
    """What is taken off the first nine tenths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(
        default=0.05, gt=0, le=0.5, description="Share of the whole text, from the end of the train part."
    )


class TinyshakespeareConfig(TokenConfig):
    """1,115,394 characters; the last tenth is test."""

    name: Literal["tinyshakespeare"] = "tinyshakespeare"
    batch_size: int = Field(default=12, ge=1, description="Samples per optimiser step, over all workers together.")
    tokenizer: TokenizerKind = Field(default="character", description="What a token is.")
    context: int = Field(default=64, ge=1, description="Tokens per sample, the most that the model looks back.")
    split: ValConfig = Field(default=ValConfig(), description="How text is held out.")


def prepare_tinyshakespeare(config: TinyshakespeareConfig) -> PreparedData:
    """Train, val and test in the order of the text."""
    corpus = Corpus(texts=[_text()], documents=False, where=WHERE)
    return prepare_corpus(corpus, config, split=SplitConfig(val=config.split.val, test=_TEST))


def tinyshakespeare_parts(val: float) -> dict[SplitName, str]:
    """The text of each split, `val` being a share of the whole."""
    parts = split_text(_text(), SplitConfig(val=val, test=_TEST), WHERE)
    return {name: parts[name][0] for name in SPLITS}


def _text() -> str:
    return files("forgeline_jobs.data").joinpath("files/tinyshakespeare.txt").read_bytes().decode("utf-8")
