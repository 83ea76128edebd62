"""Moving an alias as a compare-and-swap, and what is found of moves that were cut off or made in MLflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import AliasMoved, TrackingError, UsageError
from forgeline.ledger.alias_history import AliasHistory
from forgeline.ledger.records import OUTSIDE
from forgeline.registry.models import Registry
from forgeline.tracking.tracker import Tracker
from tests.databases import ledger_url

NewModel = Callable[[str], str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("promotion")


@pytest.fixture(scope="module")
def tracker(home: Path) -> Tracker:
    return Tracker(f"sqlite:///{home / 'mlflow.db'}")


@pytest.fixture(scope="module")
def url(home: Path) -> str:
    return ledger_url(home)


@pytest.fixture(scope="module")
def registry(home: Path, tracker: Tracker, url: str) -> Registry:
    return Registry(tracker, url, home=home)


@pytest.fixture(scope="module")
def history(url: str) -> AliasHistory:
    return AliasHistory(url)


@pytest.fixture
def new_model(tracker: Tracker) -> NewModel:
    """Registers three versions of a model, whose files nobody asks for here."""

    def make(name: str) -> str:
        tracker.client.create_registered_model(name)
        for _ in range(3):
            tracker.client.create_model_version(name, source="file:///nowhere")
        return name

    return make


def told(registry: Registry, name: str) -> list[tuple[int | None, int | None]]:
    return [(move.from_version, move.to_version) for move in registry.history(name)]


def test_an_alias_moves_only_from_where_it_is_expected(registry: Registry, new_model: NewModel) -> None:
    name = new_model("expected")
    with pytest.raises(AliasMoved, match="'expected' moved underneath: no version has it .expected: 2"):
        registry.promote(name, 1, expect=2)
    first = registry.promote(name, 1, expect="none")
    for expect in ("none", 2, 3):
        with pytest.raises(AliasMoved, match=f"it is version 1 since .*promoted by hand .expected: {expect}") as caught:
            registry.promote(name, 3, expect=expect)  # type: ignore[arg-type]
        assert (caught.value.version, caught.value.exit_code) == (1, 2)
    second = registry.promote(name, 2, expect=1, why="better")
    assert registry.history(name) == [first, second]
    assert (second.number, second.from_version, second.why) == (2, 1, "better")
    assert registry.version(name, alias="champion").version == 2


def test_an_alias_that_is_there_already_moves_nowhere(registry: Registry, new_model: NewModel) -> None:
    name = new_model("already")
    registry.promote(name, 1)
    with pytest.raises(UsageError, match="is version 1 already"):
        registry.promote(name, 1, expect=1)
    with pytest.raises(AliasMoved, match="it is version 1"):
        registry.promote(name, 1, expect="none")
    assert told(registry, name) == [(None, 1)]


def test_of_many_that_expect_the_same_one_moves_it(registry: Registry, new_model: NewModel) -> None:
    name = new_model("contested")
    registry.promote(name, 1)
    start = threading.Barrier(6)

    def one(version: int) -> int | None:
        start.wait()
        try:
            return registry.promote(name, version, expect=1).to_version
        except AliasMoved:
            return None

    with ThreadPoolExecutor(6) as pool:
        moved = [version for version in pool.map(one, [2, 3] * 3) if version is not None]
    assert len(moved) == 1
    assert told(registry, name) == [(None, 1), (1, moved[0])]


@pytest.mark.parametrize("why", ["\ud800", "a\0b"])
def test_a_reason_that_is_no_text_is_refused(why: str, registry: Registry, new_model: NewModel) -> None:
    name = new_model(f"reason-{ord(why[0])}")
    for move in (lambda: registry.promote(name, 1, why=why), lambda: registry.rollback(name, why=why)):
        with pytest.raises(UsageError, match="why: got"):
            move()
    assert told(registry, name) == []


DIE = """
import os, sys
from pathlib import Path
from forgeline.registry.models import Registry
from forgeline.tracking.tracker import Tracker
home, name, made = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "made"
tracker = Tracker(f"sqlite:///{home}/mlflow.db")
move = tracker.client.set_registered_model_alias
def dies(*given):
    if made:
        move(*given)
    os._exit(9)
tracker.client.set_registered_model_alias = dies
Registry(tracker, sys.argv[4], home=home).promote(name, 2, why="by one that dies", expect=1)
"""


@pytest.mark.parametrize("made", ["made", "unmade"])
@pytest.mark.parametrize("looks", ["history", "promote", "rollback"])
def test_whoever_looks_next_settles_what_a_process_that_died_began(
    made: str, looks: str, registry: Registry, new_model: NewModel, history: AliasHistory, home: Path, url: str
) -> None:
    name = new_model(f"killed-{made}-{looks}")
    registry.promote(name, 3)
    registry.promote(name, 1, why="before")
    done = subprocess.run([sys.executable, "-c", DIE, str(home), name, made, url], env=os.environ, check=False)
    assert done.returncode == 9
    [begun] = history.intended(name)
    assert (begun.from_version, begun.to_version, begun.why) == (1, 2, "by one that dies")
    expected = [(None, 3), (3, 1), *([(1, 2)] if made == "made" else [])]
    now = 2 if made == "made" else 1
    if looks == "promote":
        with pytest.raises(AliasMoved, match=f"it is version {now}"):
            registry.promote(name, 1, expect=3)
    elif looks == "rollback":
        back = registry.rollback(name)
        expected.append((now, back.to_version))
    assert told(registry, name) == expected
    assert history.intended(name) == []
    if made == "made":
        assert (registry.history(name)[2].why, registry.history(name)[2].who) == ("by one that dies", begun.who)
    assert [chain.fault for chain in history.chains(name)] == [None]


def test_a_move_that_mlflow_made_and_did_not_confirm_is_in_the_history(
    registry: Registry, new_model: NewModel, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_model("unconfirmed")
    make = tracker.client.set_registered_model_alias

    def lost(*given: Any) -> None:
        make(*given)
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(tracker.client, "set_registered_model_alias", lost)
        with pytest.raises(TrackingError, match="no answer"):
            registry.promote(name, 2, why="over a bad line")
    assert [(move.to_version, move.why) for move in registry.history(name)] == [(2, "over a bad line")]


def test_what_was_moved_in_mlflow_is_written_down_when_it_is_found(
    registry: Registry, new_model: NewModel, tracker: Tracker
) -> None:
    name = new_model("outside")
    registry.promote(name, 1)
    tracker.client.set_registered_model_alias(name, "champion", "3")
    tracker.client.set_registered_model_alias(name, "challenger", "2")
    with pytest.raises(AliasMoved, match=f"it is version 3 since .* by {OUTSIDE}: .*found it so in MLflow"):
        registry.promote(name, 2, expect=1)
    tracker.client.delete_registered_model_alias(name, "champion")
    moves = [(move.alias, move.from_version, move.to_version, move.who == OUTSIDE) for move in registry.history(name)]
    assert moves == [
        ("champion", None, 1, False),
        ("challenger", None, 2, True),
        ("champion", 1, 3, True),
        ("champion", 3, None, True),
    ]
    assert registry.promote(name, 2, expect="none").from_version is None
    assert [move.alias for move in registry.history(name, "challenger")] == ["challenger"]


def test_models_of_one_name_in_two_stores_have_a_history_each(
    registry: Registry, new_model: NewModel, history: AliasHistory, home: Path, url: str, tmp_path: Path
) -> None:
    for file in home.glob("mlflow.db*"):
        shutil.copy(file, tmp_path)
    elsewhere = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}")
    other = Registry(elsewhere, url, home=home)
    name = new_model("twice")
    elsewhere.client.create_registered_model(name)
    for _ in range(3):
        elsewhere.client.create_model_version(name, source="file:///nowhere")
    registry.promote(name, 1)
    other.promote(name, 3, expect="none")
    registry.promote(name, 2, expect=1)
    assert (told(registry, name), told(other, name)) == ([(None, 1), (1, 2)], [(None, 3)])
    assert registry.rollback(name).to_version == 1
    # One chain for the name, so that no row can be put from one to the other.
    assert [(chain.rows, chain.fault) for chain in history.chains(name)] == [(4, None)]


def test_who_served_at_a_time(registry: Registry, new_model: NewModel) -> None:
    name = new_model("served")
    before = datetime.now(UTC)
    first = registry.promote(name, 1, why="the first")
    shadow = registry.promote(name, 2, "shadow")
    second = registry.promote(name, 3)
    assert registry.pointed_at(name, before) == []
    assert registry.pointed_at(name, first.moved) == [first]
    assert registry.pointed_at(name, second.moved - timedelta(microseconds=1)) == [first, shadow]
    assert registry.pointed_at(name, second.moved.astimezone(timezone(timedelta(hours=9)))) == [second, shadow]
    assert registry.pointed_at(name, second.moved, "shadow") == [shadow]
    with pytest.raises(UsageError, match="is still to come"):
        registry.pointed_at(name, datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(UsageError, match="a time zone is needed"):
        registry.pointed_at(name, datetime(2026, 1, 1))


def test_a_model_that_is_gone_has_its_history(registry: Registry, new_model: NewModel, tracker: Tracker) -> None:
    name = new_model("gone")
    move = registry.promote(name, 2)
    tracker.client.delete_registered_model(name)
    assert registry.history(name) == registry.pointed_at(name, datetime.now(UTC)) == [move]
