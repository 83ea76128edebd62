"""Dialogues to text and back, prompts, and the answer cut out of what a model wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeline_architectures.lamda.dialogue import Turn, answer, prompt, rated, read, written

TURNS = [Turn("ROMEO", "What light is that?\nIs it the east?"), Turn("First Citizen", "No: a lamp.")]
NAMES = st.from_regex(r"[A-Za-z][A-Za-z ]*", fullmatch=True)
WORDS = st.from_regex(r"[A-Za-z:,.]+(\n[A-Za-z:,.]+)*", fullmatch=True)


def test_written_and_read() -> None:
    text = written(TURNS)
    assert text == "ROMEO:\nWhat light is that?\nIs it the east?\n\nFirst Citizen:\nNo: a lamp.\n\n"
    assert read(text) == TURNS and read("") == []


@given(st.lists(st.builds(Turn, NAMES, WORDS), max_size=4))
def test_reading_is_the_inverse_of_writing(turns: list[Turn]) -> None:
    assert read(written(turns)) == turns


def test_the_answer_is_one_turn() -> None:
    asked = prompt(TURNS, "JULIET")
    assert asked == written(TURNS) + "JULIET:\n"
    assert answer(asked + "Neither.\nGo.\n\nROMEO:\nI go.\n\n", asked) == "Neither.\nGo."
    assert answer(asked + "Neith", asked) == "Neith", "the model may have been stopped within a turn"
    with pytest.raises(ValueError, match="does not begin with the prompt"):
        answer("Neither.", asked)


@pytest.mark.parametrize("speaker", ["", " ", "A:", "A\nB"])
def test_names_that_do_not_fit_on_their_line(speaker: str) -> None:
    with pytest.raises(ValueError, match="a speaker is a name on one line without a colon"):
        Turn(speaker, "x")
    with pytest.raises(ValueError, match="a speaker is a name on one line without a colon"):
        prompt([], speaker)


@pytest.mark.parametrize("text", ["", " ", "a\n\nb", "\na", "a\n"])
def test_texts_that_would_end_their_turn(text: str) -> None:
    with pytest.raises(ValueError, match="words without empty lines"):
        Turn("A", text)


def test_a_paragraph_without_a_speaker() -> None:
    with pytest.raises(ValueError, match="got 'Enter ROMEO'"):
        read("A:\nx\n\nEnter ROMEO\n\n")


def test_a_rated_answer() -> None:
    assert rated("What's up?", "not much.", "SENSIBLE", 1) == "What's up? RESPONSE not much. SENSIBLE 1"
