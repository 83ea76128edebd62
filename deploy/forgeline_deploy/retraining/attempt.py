"""One retraining, from the wish to its end, as the journal tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

WANTED, APPROVED, REFUSED = "retrain.wanted", "retrain.approved", "retrain.refused"
LAUNCHED, DELAYED, ENDED = "retrain.launched", "retrain.delayed", "retrain.ended"


class Stage(StrEnum):
    """Where a retraining stands."""

    WANTED = "wanted"
    APPROVED = "approved"
    LAUNCHED = "launched"
    REFUSED = "refused"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a retraining ended."""

    PASSED = "passed"
    """Its model passed the gate and is the challenger."""
    GATE_FAILED = "gate_failed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    NOT_LAUNCHED = "not_launched"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One retraining. Moments are unix seconds.

    Attributes:
        number: counted from 1.
        stage: where it stands.
        wanted: when it was wanted.
        changed: when it came to this stage.
        why: `harm` or `drift`.
        summary: what was wrong, in one sentence.
        by: who approved or refused it; `auto` where nobody was asked.
        launched: when it was launched.
        run: id of the training run.
        outcome: how it ended.
        version: of the registered model, as a candidate or challenger.
        message: why it was refused, could not be launched or failed.
        tries: how often launching failed for a reason that may pass.
        again: when it is tried to launch next.
    """

    number: int
    stage: Stage
    wanted: float
    changed: float
    why: str
    summary: str
    by: str | None = None
    launched: float | None = None
    run: str | None = None
    outcome: Outcome | None = None
    version: int | None = None
    message: str | None = None
    tries: int = 0
    again: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it still goes on."""
        return self.stage not in (Stage.REFUSED, Stage.ENDED)

    def row(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def taken(attempt: Attempt | None, entry: Mapping[str, Any]) -> Attempt:
    """The attempt after an entry of the journal; None before its first."""
    at, kind = entry["at"], entry["entry"]
    if attempt is None:
        assert kind == WANTED
        return Attempt(
            number=entry["number"],
            stage=Stage.WANTED,
            wanted=at,
            changed=at,
            why=entry["why"],
            summary=entry["summary"],
        )
    if kind == APPROVED:
        return replace(attempt, stage=Stage.APPROVED, changed=at, by=entry["by"])
    if kind == REFUSED:
        return replace(attempt, stage=Stage.REFUSED, changed=at, by=entry["by"], message=entry["message"])
    if kind == LAUNCHED:
        run = entry["run"]
        return replace(attempt, stage=Stage.LAUNCHED, changed=at, launched=at, run=run, message=None, outcome=None)
    if kind == DELAYED:
        return replace(attempt, tries=entry["tries"], again=entry["again"], message=entry["message"])
    assert kind == ENDED
    return replace(
        attempt,
        stage=Stage.ENDED,
        changed=at,
        outcome=Outcome(entry["outcome"]),
        version=entry["version"],
        message=entry["message"],
    )
