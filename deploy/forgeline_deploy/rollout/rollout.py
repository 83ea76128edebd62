"""A rollout as what has happened to it: events in the journal, and the state that they make.

Each method gives the events that follow from the state and what is new; whoever calls it writes them down and applies
them. Killed in between and replayed, the same call gives those that are missing: what is decided depends on what was
written down, not on when it was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from forgeline.errors import UsageError
from forgeline_deploy.rollout.comparison import champion_loss
from forgeline_deploy.rollout.evidence import Evidence
from forgeline_deploy.rollout.figures import Assessment, assess, in_words, over_limit
from forgeline_deploy.rollout.losses import LossScale
from forgeline_deploy.rollout.spec import RolloutConfig, Step
from forgeline_deploy.rollout.split import Split

Event = dict[str, Any]
Status = Literal["running", "paused", "completed", "settled", "rolled_back", "cancelled"]

STARTED, EVIDENCE, ADVANCED = "rollout_started", "rollout_evidence", "rollout_advanced"
PAUSED, RESUMED, NOTED = "rollout_paused", "rollout_resumed", "rollout_noted"
COMPLETED, SETTLED = "rollout_completed", "rollout_settled"
ROLLED_BACK, CANCELLED = "rollout_rolled_back", "rollout_cancelled"

_STATUS: Mapping[str, Status] = {
    PAUSED: "paused",
    RESUMED: "running",
    COMPLETED: "completed",
    SETTLED: "settled",
    ROLLED_BACK: "rolled_back",
    CANCELLED: "cancelled",
}


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The state of a rollout.

    Attributes:
        id: told apart by it; the split of keys is salted with it.
        model: registered name of both versions.
        champion, challenger: the versions, as they were when it started.
        status: `completed` until the champion's alias has moved, `settled` from then on.
        step: number of the step that it is in, or was in last.
        started: when it did; `running_since`: when it started or was last resumed; `entered`: when the step began.
        evidence: all that was written down.
        baselines: of steps, the champion's mean loss as known when they began.
        proven: whether a step was left with proof that the challenger is not worse than allowed.
        noted: version that the challenger's alias was last seen at.
        why: of the last change of status or step, in words.
    """

    id: str
    model: str
    champion: int
    challenger: int
    config: RolloutConfig
    started: float
    running_since: float
    entered: float
    noted: int
    status: Status = "running"
    step: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    baselines: Mapping[int, float] = field(default_factory=dict)
    proven: bool = False
    why: str = ""

    @staticmethod
    def replay(events: Iterable[Mapping[str, Any]]) -> Rollout | None:
        """The state that events made, of the last rollout in them; None when none was started.

        Args:
            events: first to last; others than those of rollouts are passed over.
        """
        state: Rollout | None = None
        for event in events:
            state = replayed(state, event)
        return state

    def after(self, *events: Mapping[str, Any]) -> Rollout:
        """The state after more events of it."""
        state = self
        for event in events:
            state = state._after(event)
        return state

    @property
    def is_final(self) -> bool:
        """Whether nothing more is decided; a completed one still has to be settled."""
        return self.status not in ("running", "paused")

    @property
    def current(self) -> Step:
        """The step that it is in, or was in last."""
        return self.config.steps[self.step]

    @property
    def share(self) -> float:
        """Share of the requests that the challenger answers now."""
        if self.status in ("rolled_back", "cancelled"):
            return 0.0
        return self.current.share

    @property
    def shadows(self) -> bool:
        """Whether the challenger also gets, unseen, what the champion answers."""
        return not self.is_final and self.current.shadow

    def split(self) -> Split:
        """Who answers which key: `str(version)` of one of the two."""
        # The challenger is first, so that it keeps every key that it has while its share grows.
        return Split({str(self.challenger): self.share, str(self.champion): 1 - self.share}, salt=self.id)

    def assessment(self) -> Assessment:
        """What the evidence that was written down says."""
        return assess(self.evidence, self.config, dict(self.baselines))

    def decide(self, evidence: Evidence, now: float) -> list[Event]:
        """What follows from evidence: it is written down, then it rolls back, goes on by one step, or does neither.

        Args:
            evidence: all that the sources have counted, or parts of it; what is known already changes nothing.
            now: unix seconds.
        """
        if self.is_final:
            return []
        news = evidence.news(self.evidence)
        events = [self._event(EVIDENCE, now, cells=news.to_json())] if news.cells else []
        state = self.after(*events)
        return events + state._verdict(state.assessment(), now)

    def pause(self, *, by: str, why: str, now: float) -> list[Event]:
        """Stay in this step until it is resumed; the guard and the comparison still roll back.

        Raises:
            UsageError: it has ended.
        """
        self._check_going("pause")
        return [] if self.status == "paused" else [self._event(PAUSED, now, why=why, by=by)]

    def resume(self, *, by: str, why: str, now: float) -> list[Event]:
        """Go on; its timeout begins anew.

        Raises:
            UsageError: it has ended.
        """
        self._check_going("resume")
        return [] if self.status == "running" else [self._event(RESUMED, now, why=why, by=by)]

    def cancel(self, *, by: str, why: str, now: float) -> list[Event]:
        """End it; the champion answers everything again.

        Raises:
            UsageError: it has ended.
        """
        self._check_going("cancel")
        return [self._event(CANCELLED, now, why=why, by=by)]

    def look_at_aliases(self, *, champion: int | None, challenger: int | None, now: float) -> list[Event]:
        """What follows from where the registry's aliases point now.

        Args:
            champion: version that the champion's alias points at; None when no version has it.
            challenger: the same of the challenger's; where it is named by number, that number.
        """
        if self.is_final:
            return []
        if champion != self.champion:
            why = (
                f"champion of {self.model!r} moved underneath, from version {self.champion} to "
                f"{_version(champion)}; version {self.challenger} was compared with a model that is not champion now"
            )
            return [self._event(CANCELLED, now, why=why, by="forgeline")]
        if challenger is None or challenger == self.noted:
            return []
        moved = f"{self.config.challenger} moved to {_version(challenger)} during the rollout of {self.challenger}"
        if self.config.on_new_challenger == "replace" and challenger != self.challenger:
            return [self._event(CANCELLED, now, why=f"{moved}, which takes its turn", by="forgeline")]
        why = f"{moved}, which is finished first"
        return [self._event(NOTED, now, why=why, challenger=challenger)]

    def settled(self, now: float, *, why: str, moved: bool) -> list[Event]:
        """That the champion's alias points at the challenger; see `settle`."""
        return [self._event(SETTLED, now, why=why, moved=moved)]

    def superseded(self, now: float, *, found: int | None) -> list[Event]:
        """That the champion's alias had moved elsewhere when the rollout was completed; see `settle`."""
        why = (
            f"champion of {self.model!r} moved underneath: it is {_version(found)}, expected {self.champion}; "
            f"version {self.challenger} passed its rollout and was not promoted"
        )
        return [self._event(CANCELLED, now, why=why, by="forgeline")]

    def _verdict(self, found: Assessment, now: float) -> list[Event]:
        harm = self._harm(found)
        if harm is not None:
            because, why = harm
            return [self._event(ROLLED_BACK, now, because=because, why=why, figures=found.to_json())]
        if self.status == "paused":
            return []
        if now - self.running_since >= self.config.timeout.total_seconds() and self.current.share < 1:
            return self._timed_out(found, now)
        if not self._may_go_on(found, now):
            return []
        why = f"step {self.current} passed"
        if found.comparison is not None and found.comparison.labelled:
            why = f"{why}; {in_words(self.config, found.comparison)}"
        if self.step + 1 == len(self.config.steps):
            return [self._event(COMPLETED, now, why=why, figures=found.to_json())]
        return [
            self._event(
                ADVANCED,
                now,
                step=self.step + 1,
                share=self.config.steps[self.step + 1].share,
                why=why,
                proven=self.proven or (found.comparison is not None and found.comparison.is_not_worse),
                baseline=self._baseline(),
                figures=found.to_json(),
            )
        ]

    def _harm(self, found: Assessment) -> tuple[str, str] | None:
        limit = found.passed_limit
        if limit is not None:
            return limit.name, over_limit(limit)
        if found.comparison is not None and found.comparison.is_worse and self.config.compare is not None:
            return self.config.compare.metric, in_words(self.config, found.comparison)
        return None

    def _timed_out(self, found: Assessment, now: float) -> list[Event]:
        said = "" if found.comparison is None else f"; {in_words(self.config, found.comparison)}"
        why = f"rollout.timeout: {self.config.timeout} passed and the evidence did not suffice{said}"
        if self.config.on_timeout == "pause":
            return [self._event(PAUSED, now, why=why, by="forgeline")]
        return [self._event(ROLLED_BACK, now, because="timeout", why=why, figures=found.to_json())]

    def _may_go_on(self, found: Assessment, now: float) -> bool:
        if now - self.entered < self.config.hold.total_seconds():
            return False
        if self.evidence.of_step(self.step).requests < self.config.requests:
            return False
        if self.config.compare is None or found.comparison is None or self.proven or self.current.share == 1:
            return True
        if self.config.compare.require == "no_harm":
            return found.comparison.labelled >= self.config.compare.min_labels
        return found.comparison.is_not_worse

    def _baseline(self) -> float:
        compare = self.config.compare
        return 0.0 if compare is None else champion_loss(self.evidence, LossScale(compare.metric, compare.largest))

    def _check_going(self, what: str) -> None:
        if self.is_final:
            raise UsageError(f"rollout {self.id} is {self.status.replace('_', ' ')} ({self.why}); nothing to {what}")

    def _event(self, event: str, now: float, **more: Any) -> Event:
        return {"event": event, "rollout": self.id, "at": now, **more}

    def _after(self, event: Mapping[str, Any]) -> Rollout:
        name, at = str(event["event"]), float(event["at"])
        if name == EVIDENCE:
            return replace(self, evidence=self.evidence | Evidence.from_json(event["cells"]))
        if name == NOTED:
            return replace(self, noted=int(event["challenger"]))
        if name == ADVANCED:
            step = int(event["step"])
            return replace(
                self,
                step=step,
                entered=at,
                proven=bool(event["proven"]),
                baselines={**self.baselines, step: float(event["baseline"])},
                why=str(event["why"]),
            )
        since = at if name == RESUMED else self.running_since
        return replace(self, status=_STATUS[name], why=str(event["why"]), running_since=since)


def replayed(state: Rollout | None, event: Mapping[str, Any]) -> Rollout | None:
    """The state after one more event, of whatever kind and rollout; of the last one that was started."""
    if event.get("event") == STARTED:
        return _started(event)
    if state is not None and event.get("rollout") == state.id:
        return state.after(event)
    return state


def begin(
    config: RolloutConfig, *, id: str, model: str, champion: int, challenger: int, now: float
) -> tuple[Rollout, list[Event]]:
    """Start a rollout: its state, and the event to write down.

    Args:
        id: never used before; the split of keys depends on it.
        model: registered name of both.
        champion, challenger: their versions, resolved.

    Raises:
        UsageError: both are the same version.
    """
    if champion == challenger:
        raise UsageError(
            f"rollout.challenger: {config.challenger} is version {challenger} of {model!r}, which is the champion "
            "already; nothing to roll out"
        )
    event: Event = {
        "event": STARTED,
        "rollout": id,
        "at": now,
        "model": model,
        "champion": champion,
        "challenger": challenger,
        "config": config.model_dump(mode="json"),
    }
    return _started(event), [event]


def _started(event: Mapping[str, Any]) -> Rollout:
    at = float(event["at"])
    return Rollout(
        id=str(event["rollout"]),
        model=str(event["model"]),
        champion=int(event["champion"]),
        challenger=int(event["challenger"]),
        config=RolloutConfig.model_validate(event["config"]),
        started=at,
        running_since=at,
        entered=at,
        noted=int(event["challenger"]),
        why="started",
    )


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
