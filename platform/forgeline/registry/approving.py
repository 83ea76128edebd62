"""Aliases that take more than one person to move: protecting them, approving what another proposed, listing that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from forgeline.errors import UsageError
from forgeline.ledger.records import AliasMove, ApprovalEvent
from forgeline.registry.aliases import check_alias, check_reason
from forgeline.registry.approvals import MOST_APPROVALS, Proposal, proposals
from forgeline.registry.models import CHAMPION, Registry


def protect(registry: Registry, name: str, approvals: int, alias: str = CHAMPION, *, why: str = "") -> ApprovalEvent:
    """Let promotions to an alias take so many persons, whoever proposes one among them.

    Raises:
        NotFound: no such model.
        UsageError: no number of persons, or no alias may have this name.
        ApprovalNeeded: it is fewer than now: that is proposed, and another person must approve it.
    """
    check_alias(alias)
    check_reason(why)
    if not 1 <= approvals <= MOST_APPROVALS:
        raise UsageError(f"approvals: got {approvals}; allowed: 1 (one person, as without) to {MOST_APPROVALS}")
    with registry.turn(name) as turn:
        return turn.protect(alias, approvals, why=why or "by hand")


def approve(
    registry: Registry,
    name: str,
    version: int | None,
    alias: str = CHAMPION,
    *,
    expect: int | Literal["none"] | None = None,
) -> AliasMove | None:
    """Agree to what another person proposed; when enough persons have, it is done.

    Args:
        registry: has the model.
        name: of the model.
        version: that was proposed; None for a change of the protection.
        alias: that is to move.
        expect: as of `Registry.promote`; without it, the version that the proposal was made against.

    Returns:
        The move; None where the protection was changed.

    Raises:
        NotFound: nothing of the kind was proposed.
        ApprovalNeeded: further persons must agree.
        AliasMoved: the alias points elsewhere; nothing was moved.
        BundleTampered: the version is not what a gate judged.
        UsageError: the proposal is expired or superseded, or the same person made it.
    """
    if version is not None:
        registry.check_bytes(registry.version(name, number=version))
    since: int | Literal["any"] | None = expect if isinstance(expect, int) else "any" if expect is None else None
    with registry.turn(name) as turn:
        return turn.approve(alias, version, expect=since)


def proposals_of(registry: Registry, name: str) -> list[Proposal]:
    """What was proposed of a model's aliases that take more than one person, first to last."""
    moves = registry.history(name)
    return proposals(registry.aliases.approvals(name), moves, datetime.now(UTC))
