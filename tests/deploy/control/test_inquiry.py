"""Asking those who may take long: nobody waits, failures last until there is an answer, and silence is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from forgeline.errors import TrackingError
from forgeline_deploy.control.inquiry import PATIENCE_S, Inquiry


@pytest.fixture
def inquiry() -> Iterator[Inquiry]:
    made = Inquiry("the registry", every_s=2.0)
    yield made
    made.close()


def until(true: Callable[[], object]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("waited too long")


def test_who_asks_goes_on_and_is_told_of_silence(inquiry: Inquiry) -> None:
    answers = threading.Event()

    def ask() -> int:
        answers.wait(30)
        return 7

    assert inquiry.answer("champion", ask, 0.0) is None
    assert inquiry.answer("champion", ask, PATIENCE_S) is None
    with pytest.raises(TrackingError, match="the registry has not answered for 31 s"):
        inquiry.answer("champion", ask, PATIENCE_S + 1)
    answers.set()

    def answered() -> bool:
        try:
            return inquiry.answer("champion", ask, PATIENCE_S + 1) == 7
        except TrackingError:
            return False

    until(answered)


def test_a_failure_lasts_until_there_is_an_answer(inquiry: Inquiry) -> None:
    def refuse() -> int:
        raise TrackingError("connection refused")

    def failed(now: float) -> bool:
        try:
            inquiry.answer("champion", refuse, now)
        except TrackingError as error:
            return "refused" in str(error)
        return False

    until(lambda: failed(0.0))
    assert failed(1.9), "asked again too early, or forgotten"
    told: list[int] = []

    def answered() -> bool:
        try:
            told.extend(found for found in [inquiry.answer("champion", lambda: 3, 2.0)] if found is not None)
        except TrackingError:
            return False
        return bool(told)

    until(answered)
    assert told == [3] and inquiry.answer("champion", lambda: 3, 3.0) is None


def test_the_answer_to_another_question_is_dropped(inquiry: Inquiry) -> None:
    done = threading.Event()

    def ask() -> int:
        done.set()
        return 1

    assert inquiry.answer("rollout 1", ask, 0.0) is None
    assert done.wait(30)
    until(lambda: inquiry.answer("rollout 2", lambda: 2, 2.0) == 2)


def test_a_failure_is_raised_for_its_own_question_alone(inquiry: Inquiry) -> None:
    done = threading.Event()

    def refuse() -> int:
        done.set()
        raise TrackingError("of rollout 1")

    assert inquiry.answer("rollout 1", refuse, 0.0) is None
    assert done.wait(30)
    for now in (0.1, 0.2, 1.9):
        assert inquiry.answer("rollout 2", lambda: 2, now) is None
    until(lambda: inquiry.answer("rollout 2", lambda: 2, 2.0) == 2)
    assert inquiry.answer("rollout 1", lambda: 1, 2.0) is None  # what failed once is not held against it later
