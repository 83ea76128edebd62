"""The end of a completed rollout: the champion's alias moves to the challenger, once, and only from where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgeline.errors import AliasMoved
from forgeline_deploy.rollout.rollout import Event, Rollout

if TYPE_CHECKING:
    from forgeline.registry.models import Registry

# As `forgeline.registry.models.CHAMPION`, whose module reads MLflow's client.
CHAMPION = "champion"


def settle(registry: Registry, rollout: Rollout, *, now: float) -> list[Event]:
    """Promote the challenger of a completed rollout; called again after a crash, it finds what it did.

    Returns:
        The event to write down: settled, or cancelled where the alias had moved elsewhere underneath; none where the
        rollout is not completed, or is settled already.

    Raises:
        NotFound: the challenger was deleted.
        UsageError: the promotion is refused for another reason than a moved alias; nothing was moved.
        TrackingError, LedgerError: the registry does not answer; to be called again.
    """
    if rollout.status != "completed":
        return []
    found = _champion(registry, rollout.model)
    if found == rollout.champion:
        try:
            registry.promote(rollout.model, rollout.challenger, CHAMPION, why=_mark(rollout), expect=rollout.champion)
        except AliasMoved as error:
            found = error.version
        else:
            return rollout.settled(now, why=_mark(rollout), moved=True)
    if found != rollout.challenger:
        return rollout.superseded(now, found=found)
    # Either this was called before and its event was lost, or a person was faster.
    last = registry.history(rollout.model, CHAMPION)[-1]
    moved = last.why == _mark(rollout)
    return rollout.settled(now, why=last.why, moved=moved)


def _mark(rollout: Rollout) -> str:
    return f"rollout {rollout.id} completed: {rollout.why}"


def _champion(registry: Registry, model: str) -> int | None:
    versions = registry.show(model)
    return next((version.version for version in versions if CHAMPION in version.aliases), None)
