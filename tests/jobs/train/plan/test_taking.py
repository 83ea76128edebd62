"""What `auto` took is written down in words, and means the same when it is read again."""

from __future__ import annotations

import pytest

from forgeline.errors import RunFailed
from forgeline_jobs.train.plan.model_states import STRATEGIES, Strategy
from forgeline_jobs.train.plan.taking import Taken


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_strategy_is_known_again_by_its_words(strategy: Strategy) -> None:
    assert Taken(strategy=str(strategy), why="").config == strategy.config()


def test_words_of_another_version_are_no_strategy() -> None:
    with pytest.raises(RunFailed, match="'zero 4', which this Forgeline does not know"):
        _ = Taken(strategy="zero 4", why="").config
