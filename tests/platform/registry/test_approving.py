"""Aliases that take more than one person: proposals, approvals, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from forgeline.errors import AliasMoved, ApprovalNeeded, NotFound, UsageError
from forgeline.registry import alias_turn, approvals, approving
from forgeline.registry.models import Registry
from forgeline.tracking.tracker import Tracker
from tests.databases import execute, ledger_url

As = Callable[[str], None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("approving")


@pytest.fixture(scope="module")
def tracker(home: Path) -> Tracker:
    return Tracker(f"sqlite:///{home / 'mlflow.db'}")


@pytest.fixture(scope="module")
def url(home: Path) -> str:
    return ledger_url(home)


@pytest.fixture(scope="module")
def registry(home: Path, tracker: Tracker, url: str) -> Registry:
    return Registry(tracker, url, home=home)


@pytest.fixture
def name(request: pytest.FixtureRequest, tracker: Tracker) -> str:
    tracker.client.create_registered_model(request.node.name)
    for _ in range(3):
        tracker.client.create_model_version(request.node.name, source="file:///nowhere")
    return str(request.node.name)


@pytest.fixture
def as_person(monkeypatch: pytest.MonkeyPatch) -> Iterator[As]:
    from forgeline.settings import settings

    def become(user: str) -> None:
        monkeypatch.setenv("FORGELINE_USER", user)

    become("ann")
    assert settings().user == "ann"
    yield become


@contextmanager
def proposed() -> Iterator[None]:
    with pytest.raises(ApprovalNeeded, match="proposed: .*1 of 2 persons agree.*`forgeline models approve") as caught:
        yield
    assert caught.value.exit_code == 101


def statuses(registry: Registry, name: str) -> list[tuple[int | None, str]]:
    return [(one.event.version, one.status) for one in approving.proposals_of(registry, name)]


def test_another_person_completes_what_one_proposed(registry: Registry, name: str, as_person: As) -> None:
    registry.promote(name, 1)
    approving.protect(registry, name, 2)
    with proposed():
        registry.promote(name, 2, why="better")
    assert registry.version(name, alias="champion").version == 1
    with pytest.raises(UsageError, match="ann agreed to this already; another person approves it"):
        approving.approve(registry, name, 2)
    as_person("bob@example.com")
    move = approving.approve(registry, name, 2, expect=1)
    assert move is not None and (move.from_version, move.to_version) == (1, 2)
    assert move.why == "better; proposed by ann (proposal 2), approved by bob@example.com"
    assert statuses(registry, name) == [(2, "completed")]
    with pytest.raises(UsageError, match="is completed: moved "):
        approving.approve(registry, name, 2)
    [moves], [asked] = (registry.aliases.chains(name, approvals=kind) for kind in (False, True))
    assert (moves.fault, moves.rows, asked.fault, asked.rows) == (None, 2, None, 3)
    # Other aliases move as before, and so does the way back.
    registry.promote(name, 3, "shadow")
    assert registry.rollback(name).to_version == 1


def test_three_persons(registry: Registry, name: str, as_person: As) -> None:
    approving.protect(registry, name, 3)
    with pytest.raises(ApprovalNeeded, match="1 of 3 persons agree"):
        registry.promote(name, 1)
    as_person("bob")
    with pytest.raises(ApprovalNeeded, match="agreed: .*2 of 3 persons agree"):
        approving.approve(registry, name, 1)
    with pytest.raises(UsageError, match="bob agreed to this already"):
        approving.approve(registry, name, 1)
    as_person("cid")
    assert approving.approve(registry, name, 1) is not None


def test_a_proposal_is_of_where_the_alias_pointed_then(registry: Registry, name: str, as_person: As) -> None:
    registry.promote(name, 1)
    approving.protect(registry, name, 2)
    with pytest.raises(AliasMoved, match="it is version 1"):
        registry.promote(name, 2, expect=3)
    with proposed():
        registry.promote(name, 2, expect=1)
    as_person("bob")
    with pytest.raises(AliasMoved, match="it is version 1 .*expected: 3"):
        approving.approve(registry, name, 2, expect=3)
    # There and back: the alias points where it did, and has moved all the same.
    registry._tracker.client.set_registered_model_alias(name, "champion", "3")
    registry.history(name)
    registry._tracker.client.set_registered_model_alias(name, "champion", "1")
    with pytest.raises(UsageError, match="is superseded: the alias moved to version 3 meanwhile; propose it again"):
        approving.approve(registry, name, 2)
    assert registry.version(name, alias="champion").version == 1


def test_a_later_proposal_takes_the_place_of_an_open_one(registry: Registry, name: str, as_person: As) -> None:
    approving.protect(registry, name, 2)
    with proposed():
        registry.promote(name, 1)
    as_person("bob")
    with proposed():
        registry.promote(name, 2)
    assert statuses(registry, name) == [(1, "superseded"), (2, "open")]
    as_person("cid")
    with pytest.raises(UsageError, match="is superseded: a later proposal of bob took its place"):
        approving.approve(registry, name, 1)
    with pytest.raises(NotFound, match="nobody proposed version 3 for champion"):
        approving.approve(registry, name, 3)
    assert approving.approve(registry, name, 2) is not None


def test_a_proposal_expires(registry: Registry, name: str, as_person: As, monkeypatch: pytest.MonkeyPatch) -> None:
    approving.protect(registry, name, 2)
    monkeypatch.setattr(approvals, "LASTS", timedelta(0))
    with pytest.raises(ApprovalNeeded):
        registry.promote(name, 1)
    as_person("bob")
    with pytest.raises(UsageError, match="is expired: it expired 2.* UTC; propose it again"):
        approving.approve(registry, name, 1)


def test_a_protection_is_lowered_by_more_than_one_person_alone(registry: Registry, name: str, as_person: As) -> None:
    approving.protect(registry, name, 2)
    with pytest.raises(ApprovalNeeded, match="takes 1 persons; 1 of 2 persons agree"):
        approving.protect(registry, name, 1)
    with proposed():
        registry.promote(name, 1)
    as_person("bob")
    assert approving.approve(registry, name, None) is None
    assert registry.promote(name, 2).to_version == 2
    assert statuses(registry, name) == [(None, "completed"), (1, "superseded")]
    with pytest.raises(UsageError, match="approvals: got 0; allowed: 1"):
        approving.protect(registry, name, 0)


def test_who_died_after_agreeing_may_complete_it(
    registry: Registry, name: str, as_person: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    approving.protect(registry, name, 2)
    with proposed():
        registry.promote(name, 1)
    as_person("bob")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(alias_turn.AliasTurn, "move", die)
        with pytest.raises(KeyboardInterrupt):
            approving.approve(registry, name, 1)
    assert statuses(registry, name) == [(1, "open")]
    move = approving.approve(registry, name, 1)
    assert move is not None and move.to_version == 1


def test_an_altered_approval_is_found(registry: Registry, name: str, as_person: As, url: str) -> None:
    approving.protect(registry, name, 2)
    execute(url, "UPDATE alias_approvals SET approvals = 1 WHERE model = :name", name=name)
    [chain] = registry.aliases.chains(name, approvals=True)
    assert chain.fault is not None and chain.fault.startswith("row 1: its hash is not that")


def test_an_unfinished_move_of_a_model_that_is_gone_is_told_no_more(
    registry: Registry, name: str, tracker: Tracker, url: str
) -> None:
    columns = "model, alias, from_version, to_version, who, moved, why, rollback, model_created"
    for alias, created in (("champion", 0), ("of another store", 1_700_000_000_000)):
        execute(
            url,
            f"INSERT INTO alias_intents ({columns}) VALUES (:n, :a, NULL, 1, 'a', '2026-01-01', '', FALSE, :created)",
            n=name,
            a=alias,
            created=created,
        )
    tracker.client.delete_registered_model(name)
    assert registry.history(name) == []
    assert [begun.alias for begun in registry.aliases.intended(name)] == ["of another store"]
