"""Conducts a rollout: begins it when a challenger is there, weighs what was counted, and settles it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from forgeline.errors import ApprovalNeeded, ForgelineError, NotFound
from forgeline.registry.references import ModelReference, parse
from forgeline_deploy.control.inquiry import Inquiry
from forgeline_deploy.control.plan import Plan, Plans, as_entries
from forgeline_deploy.control.traffic import CHALLENGER, CHAMPION
from forgeline_deploy.deployment.pinning import Pinned, pin
from forgeline_deploy.rollout import Evidence, Rollout, RolloutConfig, begin, settle

if TYPE_CHECKING:
    from forgeline.ledger.journal import Journal
    from forgeline.registry.models import Registry
    from forgeline_deploy.rollout.rollout import Event

LOOK_EVERY_S = 2.0
"""Least time between two questions to the registry."""
_MOST_BETWEEN_S = 30.0


class Conductor:
    """Decides about the rollout of a deployment; its memory is the journal.

    Args:
        config: `rollout` of the deployment.
        run_id: of the deployment; ids of rollouts are made of it.
        registry: that has the versions.
        journal: of the run.
        plans: what follows from it.
    """

    def __init__(
        self, config: RolloutConfig, *, run_id: str, registry: Registry, journal: Journal, plans: Plans
    ) -> None:
        self._config = config
        self._run_id = run_id
        self._registry = registry
        self._journal, self._plans = journal, plans
        self._registry_says = Inquiry("the registry", every_s=LOOK_EVERY_S)
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
        """Do what is next; what the registry is asked is answered at a later tick.

        Returns:
            The entries that were written.

        Raises:
            Overtaken: somebody else wrote meanwhile; called again it decides anew.
            LedgerError, TrackingError: the ledger or the registry does not answer.
        """
        plan = self._plans.now()
        if plan is None:
            return []
        rollout = plan.rollout
        if rollout is not None and rollout.status == "completed":
            return self._write(self._settled(plan, rollout, now))
        if rollout is not None and not rollout.is_final:
            return self._write(self._weighed(plan, rollout, now))
        return self._write(self._begun(plan, now))

    def close(self) -> None:
        """Ask nothing more."""
        self._registry_says.close()

    def _begun(self, plan: Plan, now: float) -> list[dict[str, Any]]:
        if not plan.champion.version.isdigit():
            return []
        model, champion = plan.champion.model, int(plan.champion.version)
        known = frozenset(plan.tried)
        found = self._registry_says.answer(
            ("challenger", champion, known), lambda: self._challengers(model, champion, known), now
        )
        if not found:
            return []
        [pinned] = found
        _, events = begin(
            self._config,
            id=f"{self._run_id[:12]}-{len(plan.tried) + 1}",
            model=model,
            champion=champion,
            challenger=int(pinned.version),
            now=now,
        )
        return [pinned.entry(), *as_entries(events)]

    def _challengers(self, model: str, champion: int, known: Set[int]) -> list[Pinned]:
        """The version that is to be tried, if there is one."""
        found = self._version(self._config.challenger)
        if found is None or found == champion or found in known:
            return []
        if self._version(f"models:/{model}@{CHAMPION}") != champion:
            # Compared with a version that is champion no more, it would be cancelled at once, and could not be tried
            # again. A person who moved the alias begins a new deployment.
            return []
        return [pin(f"models:/{model}/{found}", role=CHALLENGER, name=model)]

    def _weighed(self, plan: Plan, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        if plan.running is None:
            # The challenger's replicas do not come up: it is rolled back before anybody saw it.
            why = plan.failed.get(str(rollout.challenger))
            return [] if why is None else as_entries(rollout.cancel(by="forgeline", why=why, now=now))
        # Harm is acted on first, whether the registry answers or not.
        return self._decided_now(rollout, now) or self._aliases_moved(rollout, now)

    def _decided_now(self, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        between = min(max(self._config.hold.total_seconds() / 10, 1.0), _MOST_BETWEEN_S)
        if now < self._decided + between or self._about not in ("", rollout.id):
            return []
        self._decided = now
        return as_entries(rollout.decide(self._evidence if self._about == rollout.id else Evidence(), now))

    def _aliases_moved(self, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        references = f"models:/{rollout.model}@{CHAMPION}", self._config.challenger
        found = self._registry_says.answer(
            ("aliases", rollout.id), lambda: [self._version(reference) for reference in references], now
        )
        if found is None:
            return []
        champion, challenger = found
        return as_entries(rollout.look_at_aliases(champion=champion, challenger=challenger, now=now))

    def _settled(self, plan: Plan, rollout: Rollout, now: float) -> list[dict[str, Any]]:
        if plan.challenger is not None and plan.challenger.version not in plan.up:
            return []  # after a restart it is on its way up; until then the champion answers
        awaited = self._awaited == rollout.id
        try:
            events = self._registry_says.answer(
                ("settled", rollout.id), lambda: self._promoted(rollout, now, awaited=awaited), now
            )
        except ApprovalNeeded:
            self._awaited = rollout.id
            raise
        if not events:
            return []
        entries = as_entries(events)
        if rollout.after(*events).status == "settled" and plan.challenger is not None:
            fields = {name: getattr(plan.challenger, name) for name in Pinned.__dataclass_fields__}
            champion = Pinned(**{**fields, "role": CHAMPION, "reference": plan.challenger.reference})
            entries.append(champion.entry())
        return entries

    def _promoted(self, rollout: Rollout, now: float, *, awaited: bool) -> list[Event]:
        if awaited and self._version(f"models:/{rollout.model}@{CHAMPION}") == rollout.champion:
            return []  # another person has to approve it first
        return settle(self._registry, rollout, now=now)

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
