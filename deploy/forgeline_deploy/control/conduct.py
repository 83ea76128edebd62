"""Conducts a rollout: begins it when a challenger is there, weighs what was counted, and settles it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgeline.errors import ApprovalNeeded, ForgelineError, NotFound
from forgeline.registry.references import ModelReference, parse
from forgeline_deploy.control.plan import FAILED, Plan, as_entries, plan_of, tried
from forgeline_deploy.control.traffic import CHALLENGER, CHAMPION
from forgeline_deploy.deployment.pinning import Pinned, pin
from forgeline_deploy.rollout import Evidence, Rollout, RolloutConfig, begin, settle

if TYPE_CHECKING:
    from forgeline.ledger.journal import Journal
    from forgeline.registry.models import Registry

LOOK_FOR_CHALLENGER_S = 2.0
_MOST_BETWEEN_S = 30.0


class Conductor:
    """Decides about the rollout of a deployment; its memory is the journal.

    Args:
        config: `rollout` of the deployment.
        run_id: of the deployment; ids of rollouts are made of it.
        registry: that has the versions.
        journal: of the run.
    """

    def __init__(self, config: RolloutConfig, *, run_id: str, registry: Registry, journal: Journal) -> None:
        self._config = config
        self._run_id = run_id
        self._registry = registry
        self._journal = journal
        self._looked = float("-inf")
        self._decided = float("-inf")
        self._evidence = Evidence()
        self._about = ""
        self._awaited = ""

    def take(self, rollout: str, evidence: Evidence) -> None:
        """Remember what was counted for a rollout until it is weighed."""
        if rollout != self._about:
            self._about, self._evidence = rollout, Evidence()
        self._evidence = self._evidence | evidence

    def tick(self, now: float) -> Sequence[Mapping[str, Any]]:
        """Do what is next.

        Returns:
            The entries that were written.

        Raises:
            Overtaken: somebody else wrote meanwhile; called again it decides anew.
            LedgerError, TrackingError: the ledger or the registry does not answer.
        """
        plan = plan_of(self._journal.entries)
        if plan is None:
            return []
        rollout = plan.rollout
        if rollout is not None and rollout.status == "completed":
            return self._write(self._settled(plan, rollout, now))
        if rollout is not None and not rollout.is_final:
            return self._write(self._weighed(plan, rollout, now))
        return self._write(self._begun(plan, now))

    def _begun(self, plan: Plan, now: float) -> list[dict[str, Any]]:
        if now < self._looked + LOOK_FOR_CHALLENGER_S or not plan.champion.version.isdigit():
            return []
        self._looked = now
        found = self._version(self._config.challenger)
        champion = int(plan.champion.version)
        if found != champion and self._version(f"models:/{plan.champion.model}@{CHAMPION}") != champion:
            # Compared with a version that is champion no more, it would be cancelled at once, and could not be tried
            # again. A person who moved the alias begins a new deployment.
            return []
        if found is None or found == champion or found in tried(self._journal.entries):
            return []
        number = sum(entry.get("event") == "rollout_started" for entry in self._journal.entries) + 1
        pinned = pin(f"models:/{plan.champion.model}/{found}", role=CHALLENGER, name=plan.champion.model)
        _, events = begin(
            self._config,
            id=f"{self._run_id[:12]}-{number}",
            model=plan.champion.model,
            champion=champion,
            challenger=found,
            now=now,
        )
        return [pinned.entry(), *as_entries(events)]

    def _weighed(self, plan: Plan, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        if plan.running is None:
            return self._not_up(rollout, now)
        if now >= self._looked + LOOK_FOR_CHALLENGER_S:
            self._looked = now
            champion = self._version(f"models:/{rollout.model}@{CHAMPION}")
            challenger = self._version(self._config.challenger)
            if moved := rollout.look_at_aliases(champion=champion, challenger=challenger, now=now):
                return as_entries(moved)
        between = min(max(self._config.hold.total_seconds() / 10, 1.0), _MOST_BETWEEN_S)
        if now < self._decided + between or self._about not in ("", rollout.id):
            return []
        self._decided = now
        return as_entries(rollout.decide(self._evidence if self._about == rollout.id else Evidence(), now))

    def _not_up(self, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        """The challenger's replicas do not come up: it is rolled back before anybody saw it."""
        for entry in reversed(self._journal.entries):
            if entry.get("entry") == FAILED and entry["version"] == str(rollout.challenger):
                return as_entries(rollout.cancel(by="forgeline", why=str(entry["why"]), now=now))
            if entry.get("event") == "rollout_started":
                break
        return []

    def _settled(self, plan: Plan, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        if plan.challenger is not None and plan.challenger.version not in plan.up:
            return []  # after a restart it is on its way up; until then the champion answers
        if self._awaited == rollout.id and self._version(f"models:/{rollout.model}@{CHAMPION}") == rollout.champion:
            return []  # another person has to approve it first
        try:
            events = settle(self._registry, rollout, now=now)
        except ApprovalNeeded:
            self._awaited = rollout.id
            raise
        entries = as_entries(events)
        if rollout.after(*events).status == "settled" and plan.challenger is not None:
            fields = {name: getattr(plan.challenger, name) for name in Pinned.__dataclass_fields__}
            champion = Pinned(**{**fields, "role": CHAMPION, "reference": plan.challenger.reference})
            entries.append(champion.entry())
        return entries

    def _version(self, reference: str) -> int | None:
        parsed = parse(reference)
        assert isinstance(parsed, ModelReference)
        try:
            return self._registry.version(parsed.name, alias=parsed.alias, number=parsed.version).version
        except NotFound:
            return None

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        if entries:
            self._journal.append(*entries)
        return entries


def comparison_of(rollout: Rollout | None) -> dict[str, Any] | None:
    """How the challenger stands beside the champion, by name of the figure; None where there is no rollout."""
    if rollout is None:
        return None
    told: dict[str, Any] = {"rollout": rollout.id, "status": rollout.status, "step": str(rollout.current)}
    try:
        told |= rollout.assessment().to_json()
    except ForgelineError as error:
        told["error"] = str(error)
    return told | {"why": rollout.why}
