"""The traffic of a rollout, in the ingress: who answers, who only sees it, and what is counted for the comparison."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from forgeline_deploy.rollout import Counting, Evidence
from forgeline_deploy.serving import Answered, Choice

if TYPE_CHECKING:
    from forgeline_deploy.rollout import Rollout

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"
_SERVER_ERROR, _QUEUE_FULL = 500, 429
_MOST_HALVES = 10_000
"""Requests of which one of two answers is there yet."""


class RolloutCounts:
    """What an ingress has counted for one rollout, by step. It lives as long as the ingress: counts only grow.

    Args:
        source: a name that no other ingress, and no earlier life of this one, has.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._rollout = ""
        self._steps: dict[int, Counting] = {}

    def of(self, rollout: Rollout) -> Counting:
        """The counts of the step that a rollout is in."""
        if rollout.id != self._rollout:
            self._rollout, self._steps = rollout.id, {}
        return self._steps.setdefault(rollout.step, Counting(rollout.config.guard))

    @property
    def rollout(self) -> str:
        """Id of the rollout that was counted for last; empty before the first."""
        return self._rollout

    def evidence(self) -> Evidence:
        """All steps of that rollout."""
        return Evidence({(step, self._source): counting.counts() for step, counting in sorted(self._steps.items())})


class RolloutTraffic:
    """Chooses as a rollout says.

    Args:
        rollout: as it stands.
        counts: of this ingress.
    """

    def __init__(self, rollout: Rollout, counts: RolloutCounts) -> None:
        self._split = rollout.split()
        self._champion, self._challenger = str(rollout.champion), str(rollout.challenger)
        self._shadows = (self._challenger,) if rollout.shadows else ()
        self._counting = counts.of(rollout)
        self._halves: OrderedDict[str, tuple[str, Any]] = OrderedDict()

    def choose(self, key: str, now: float) -> Choice:
        """By the key's place in the split."""
        version = self._split.choose(key)
        if version == self._champion:
            return Choice(version=version, role=CHAMPION, shadows=self._shadows)
        return Choice(version=version, role=CHALLENGER)

    def answered(self, answer: Answered) -> None:
        """Count an answer; requests that name a version themselves are no part of the comparison."""
        # One that cannot keep up has failed as well; what is no valid input says nothing about a version.
        failed = answer.status >= _SERVER_ERROR or answer.status == _QUEUE_FULL
        if not failed and answer.status != 200:
            return
        if answer.role == CHAMPION and answer.version == self._champion:
            self._counting.answered(CHAMPION, seconds=answer.seconds, failed=failed)
        elif answer.role in (CHALLENGER, SHADOW) and answer.version == self._challenger:
            self._counting.answered(CHALLENGER, seconds=answer.seconds, failed=failed)
        else:
            return
        if self._shadows and not failed and answer.role in (CHAMPION, SHADOW):
            self._compare(answer)

    def _compare(self, answer: Answered) -> None:
        """Hold the two answers to one request against each other, whichever comes first."""
        said = answer.columns.get("prediction")
        other = self._halves.pop(answer.request_id, None)
        if other is not None and other[0] != answer.role:
            self._counting.shadowed(agree=other[1] == said)
            return
        self._halves[answer.request_id] = (answer.role, said)
        if len(self._halves) > _MOST_HALVES:
            self._halves.popitem(last=False)
