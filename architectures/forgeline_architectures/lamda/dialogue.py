"""Dialogues as text and back: what a LaMDA is trained on, prompted with, and answers; no torch.

A turn is its speaker's name with a colon on a line of its own, the words below it, and an empty line after it, as plays
are printed. A model that was trained on plays or on `written` dialogues goes on after `prompt`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TURN_END = "\n\n"
_TURN = re.compile(r"(?P<speaker>[^\n:]+):\n(?P<text>.+)", re.DOTALL)


@dataclass(frozen=True)
class Turn:
    """What one speaker says.

    Attributes:
        speaker: a name on one line, without a colon.
        text: the words; no empty line in them, since that ends a turn.
    """

    speaker: str
    text: str

    def __post_init__(self) -> None:
        _check_speaker(self.speaker)
        if not self.text.strip() or TURN_END in self.text or self.text != self.text.strip("\n"):
            raise ValueError(f"a turn's text is words without empty lines in, before or after them, got {self.text!r}")


def written(turns: Sequence[Turn]) -> str:
    """A dialogue as text, closed after its last turn."""
    return "".join(f"{turn.speaker}:\n{turn.text}{TURN_END}" for turn in turns)


def read(text: str) -> list[Turn]:
    """The turns of a text; the inverse of `written`.

    Raises:
        ValueError: a paragraph is no turn.
    """
    turns = []
    for paragraph in text.split(TURN_END):
        if not paragraph.strip("\n"):
            continue
        found = _TURN.fullmatch(paragraph.strip("\n"))
        if found is None:
            raise ValueError(f"a turn is `NAME:` on a line and words below it, got {paragraph!r}")
        turns.append(Turn(found["speaker"], found["text"]))
    return turns


def prompt(turns: Sequence[Turn], speaker: str) -> str:
    """What a model goes on from for `speaker` to answer.

    Raises:
        ValueError: the name does not fit on its line.
    """
    _check_speaker(speaker)
    return f"{written(turns)}{speaker}:\n"


def answer(text: str, asked: str) -> str:
    """The words of the one turn that follows a prompt; what the model wrote beyond it is dropped.

    Raises:
        ValueError: the text does not go on from the prompt.
    """
    if not text.startswith(asked):
        raise ValueError(f"the text does not begin with the prompt {asked!r}")
    return text.removeprefix(asked).split(TURN_END, 1)[0].strip("\n")


def rated(context: str, response: str, attribute: str, rating: int) -> str:
    """A rated response as text for fine-tuning one model to answer and to judge (Thoppilan et al. 2022, section 6.1).

    `rated("What's up?", "not much.", "SENSIBLE", 1)` is `What's up? RESPONSE not much. SENSIBLE 1`.
    """
    return f"{context} RESPONSE {response} {attribute} {rating}"


def _check_speaker(speaker: str) -> None:
    if not speaker.strip() or ":" in speaker or "\n" in speaker:
        raise ValueError(f"a speaker is a name on one line without a colon, got {speaker!r}")
