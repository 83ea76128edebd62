"""Which versions are up and who answers what, as it follows from the journal; the same for whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from forgeline_deploy.control.traffic import CHALLENGER, CHAMPION
from forgeline_deploy.deployment.pinning import PINNED, Pinned
from forgeline_deploy.rollout import Rollout
from forgeline_deploy.rollout.rollout import STARTED, replayed

UP, DOWN, FAILED = "version.up", "version.down", "version.failed"
"""`entry` of the journal that says that a version's replicas are there, are gone, or did not come up."""

ROLLOUT = "rollout"
"""`entry` of the journal that holds an event of a rollout."""

Entry = Mapping[str, Any]


class Entries(Protocol):
    """A journal, as it is read here."""

    def since(self, number: int) -> Sequence[Entry]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What follows from a journal.

    Attributes:
        champion: the version that answers.
        challenger: the version that a rollout is about, from its start until it is over; else None.
        up: versions whose replicas are there.
        rollout: the last one; None before the first.
        tried: the challenger of each rollout that was started, however it ended, first to last.
        failed: versions that did not come up since the last rollout was started, and why.
    """

    champion: Pinned
    challenger: Pinned | None
    up: Mapping[str, Pinned]
    rollout: Rollout | None
    tried: Sequence[int]
    failed: Mapping[str, str]

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


class Plans:
    """The plan that a journal makes; entries are taken in once, however often it is asked for. One thread at a time.

    Args:
        journal: of the run.
    """

    def __init__(self, journal: Entries) -> None:
        self._journal = journal
        self._taken = 0
        self._pinned: dict[str, Pinned] = {}
        self._known: dict[str, Pinned] = {}
        self._up: dict[str, Pinned] = {}
        self._failed: dict[str, str] = {}
        self._tried: list[int] = []
        self._rollout: Rollout | None = None
        self._plan: Plan | None = None

    def now(self) -> Plan | None:
        """By all that was read or written so far; None before the journal names a champion."""
        entries = self._journal.since(self._taken)
        for entry in entries:
            self._take(entry)
        self._taken += len(entries)
        if entries:
            self._plan = self._made()
        return self._plan

    def _take(self, entry: Entry) -> None:
        kind = entry.get("entry")
        if kind == PINNED:
            found = Pinned(**{name: entry[name] for name in Pinned.__dataclass_fields__})
            self._pinned[found.role] = self._known[found.version] = found
        elif kind == UP and entry["version"] in self._known:
            self._up[entry["version"]] = self._known[entry["version"]]
        elif kind in (DOWN, FAILED):
            self._up.pop(entry["version"], None)
            if kind == FAILED:
                self._failed[entry["version"]] = str(entry["why"])
        elif kind == ROLLOUT:
            if entry["event"] == STARTED:
                self._tried.append(int(entry["challenger"]))
                self._failed.clear()
            self._rollout = replayed(self._rollout, entry)

    def _made(self) -> Plan | None:
        if CHAMPION not in self._pinned:
            return None
        rollout, challenger = self._rollout, self._pinned.get(CHALLENGER)
        # A completed rollout keeps its challenger until the champion is pinned anew.
        going = rollout is not None and rollout.status in ("running", "paused", "completed")
        if not going or challenger is None or rollout is None or challenger.version != str(rollout.challenger):
            challenger = None
        return Plan(
            champion=self._pinned[CHAMPION],
            challenger=challenger,
            up=dict(self._up),
            rollout=rollout,
            tried=tuple(self._tried),
            failed=dict(self._failed),
        )


def plan_of(entries: Sequence[Entry]) -> Plan | None:
    """The plan that a whole journal makes; None before it names a champion."""
    return Plans(_Read(entries)).now()


@dataclass(frozen=True)
class _Read:
    """A journal that was read."""

    entries: Sequence[Entry]

    def since(self, number: int) -> Sequence[Entry]:
        return self.entries[number:]


def as_entries(events: Sequence[Entry]) -> list[dict[str, Any]]:
    """Events of a rollout as the journal has them."""
    return [{"entry": ROLLOUT, **event} for event in events]
