"""Which versions are up and who answers what, as it follows from the journal; the same for whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgeline_deploy.control.traffic import CHALLENGER, CHAMPION
from forgeline_deploy.deployment.pinning import PINNED, Pinned
from forgeline_deploy.rollout import Rollout

UP, DOWN, FAILED = "version.up", "version.down", "version.failed"
"""`entry` of the journal that says that a version's replicas are there, are gone, or did not come up."""

ROLLOUT = "rollout"
"""`entry` of the journal that holds an event of a rollout."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What follows from a journal.

    Attributes:
        champion: the version that answers.
        challenger: the version that a rollout is about, from its start until it is over; else None.
        up: versions whose replicas are there.
        rollout: the last one; None before the first.
    """

    champion: Pinned
    challenger: Pinned | None
    up: Mapping[str, Pinned]
    rollout: Rollout | None

    @property
    def wanted(self) -> dict[str, Pinned]:
        """Versions that should be up."""
        chosen = [self.champion] if self.challenger is None else [self.champion, self.challenger]
        return {each.version: each for each in chosen}

    @property
    def running(self) -> Rollout | None:
        """The rollout that goes on, once its challenger is up."""
        rollout = self.rollout
        if rollout is None or self.challenger is None or self.challenger.version not in self.up:
            return None
        return rollout


def plan_of(entries: Sequence[Entry]) -> Plan | None:
    """The plan that a journal makes; None before it names a champion."""
    pinned: dict[str, Pinned] = {}
    up: dict[str, Pinned] = {}
    known: dict[str, Pinned] = {}
    for entry in entries:
        kind = entry.get("entry")
        if kind == PINNED:
            found = Pinned(**{name: entry[name] for name in Pinned.__dataclass_fields__})
            pinned[found.role] = found
            known[found.version] = found
        elif kind == UP and entry["version"] in known:
            up[entry["version"]] = known[entry["version"]]
        elif kind in (DOWN, FAILED):
            up.pop(entry["version"], None)
    if CHAMPION not in pinned:
        return None
    rollout = Rollout.replay(entries)
    challenger = pinned.get(CHALLENGER)
    # A completed rollout keeps its challenger until the champion is pinned anew.
    going = rollout is not None and rollout.status in ("running", "paused", "completed")
    if not going or challenger is None or rollout is None or challenger.version != str(rollout.challenger):
        challenger = None
    return Plan(champion=pinned[CHAMPION], challenger=challenger, up=up, rollout=rollout)


def tried(entries: Sequence[Entry]) -> set[int]:
    """Versions that a rollout was started with, however it ended."""
    return {int(entry["challenger"]) for entry in entries if entry.get("event") == "rollout_started"}


def as_entries(events: Sequence[Entry]) -> list[dict[str, Any]]:
    """Events of a rollout as the journal has them."""
    return [{"entry": ROLLOUT, **event} for event in events]
