"""`forgeline models promote`, `models history` and `audit verify`, as they are typed."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from forgeline.registry.models import Registry, open_registry

MODEL = "digits"


@pytest.fixture
def registry(home: Path) -> Registry:
    """A registry whose one model has three versions, `champion` having moved from 1 to 2."""
    registry = open_registry()
    client = registry._tracker.client
    client.create_registered_model(MODEL)
    for _ in range(3):
        client.create_model_version(MODEL, source="file:///nowhere")
    registry.promote(MODEL, 1)
    registry.promote(MODEL, 2, why="checked by hand")
    return registry


def tamper(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as connection, connection:
        connection.execute(statement)


def test_a_promotion_that_expects_another_version_is_exit_2(registry: Registry, forgeline: Any) -> None:
    done = forgeline("models", "promote", MODEL, 3, "--expect", 1)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: champion of 'digits' moved underneath: it is version 2 since 2\d{3}-.* UTC by .*@.*: checked by hand "
        r"\(expected: 1\)\n",
        done.stderr,
    )
    done = forgeline("models", "promote", MODEL, 3, "--expect", 2)
    assert (done.returncode, done.stdout) == (0, "champion of digits is version 3 (was version 2)\n")
    assert forgeline("models", "promote", MODEL, 3, "--expect", "none", "--alias", "shadow").returncode == 0
    assert registry.version(MODEL, alias="shadow").version == 3


@pytest.mark.parametrize("expect", ["0", "-1", "two", "", "1.5", "NONE", "9" * 40])
def test_what_cannot_be_expected_is_refused(expect: str, forgeline: Any) -> None:
    done = forgeline("models", "promote", MODEL, 3, f"--expect={expect}")
    assert done.returncode == 2
    assert done.stderr == f"error: --expect: got {expect!r}; allowed: the number of a version, or `none`\n"


def test_the_history_shows_hashes_short_for_people_and_whole_for_scripts(registry: Registry, forgeline: Any) -> None:
    moves = registry.history(MODEL)
    told = json.loads(forgeline("models", "history", MODEL, "--format", "json").stdout)
    assert [row["hash"] for row in told] == [move.hash for move in moves]
    assert [(row["number"], row["from"], row["to"], row["rollback"]) for row in told] == [
        (1, None, 1, False),
        (2, 1, 2, False),
    ]
    titles, *lines = forgeline("models", "history", MODEL).stdout.splitlines()
    assert titles.split() == ["moved", "alias", "from", "to", "who", "why", "hash"]
    assert [line.split()[-1] for line in lines] == [str(move.hash)[:8] for move in moves]


def test_who_served_at_a_time(registry: Registry, forgeline: Any) -> None:
    first, second = registry.history(MODEL)
    call = ("models", "history", MODEL, "--format", "json", "--at")
    for move in (first, second):
        [row] = json.loads(forgeline(*call, move.moved.isoformat()).stdout)
        assert (row["alias"], row["version"], row["why"], row["who"]) == (
            "champion",
            move.to_version,
            move.why,
            move.who,
        )
        assert datetime.fromisoformat(row["since"]) == move.moved
    local = second.moved.astimezone().replace(tzinfo=None).isoformat()
    titles, line = forgeline("models", "history", MODEL, "--at", local, "--alias", "champion").stdout.splitlines()
    assert titles.split() == ["alias", "version", "since", "who", "why", "hash"]
    assert line.split()[:2] == ["champion", "2"]
    # Half past noon in Kathmandu, long before.
    earlier = forgeline("models", "history", MODEL, "--at", "2020-01-01T12:30+05:45", TZ="UTC")
    assert earlier.stdout == "no alias of digits pointed at a version at 2020-01-01 06:45:00\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("history", MODEL, "--at", "yesterday"), "--at: got 'yesterday'; allowed: a time in ISO 8601"),
        (("history", MODEL, "--at", "2026-13-01"), "--at: got '2026-13-01'"),
        (("history", MODEL, "--at", "0001-01-01"), "--at: got '0001-01-01'"),
        (("history", MODEL, "--at", ""), "--at: got ''"),
        (("history", MODEL, "--at", "9999-01-01T00:00Z"), "is still to come"),
    ],
)
def test_a_time_that_cannot_be_answered_for_is_exit_2(arguments: tuple[str, ...], said: str, forgeline: Any) -> None:
    done = forgeline("models", *arguments, TZ="Asia/Tokyo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and said in done.stderr


def test_a_chain_that_fits_is_told_with_its_head(registry: Registry, forgeline: Any) -> None:
    head = str(registry.history(MODEL)[-1].hash)
    done = forgeline("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["model", "rows", "head"],
        [MODEL, "2", head],
        [],
        "2 rows of 1 model: all fit".split(),
    ]
    registry.promote(MODEL, 3)
    # The chain has grown, and leads through the head that was kept.
    assert forgeline("audit", "verify", MODEL, "--head", head.upper()).returncode == 0
    told = json.loads(forgeline("audit", "verify", MODEL, "--format", "json").stdout)
    newest = registry.history(MODEL)[-1].hash
    assert told == {
        "fits": True,
        "rows": 3,
        "models": [{"model": MODEL, "rows": 3, "fitting": 3, "head": newest, "fault": None}],
        "unfinished": [],
        "faults": [],
    }


def test_rows_that_do_not_fit_are_exit_1_and_the_first_is_named(registry: Registry, forgeline: Any, home: Path) -> None:
    head = str(registry.history(MODEL)[-1].hash)
    tamper(home, "UPDATE alias_moves SET to_version = 3 WHERE number = 1")
    done = forgeline("audit", "verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the history of 'digits' does not fit from row 1: its hash is not that")
    done = forgeline("audit", "verify", "--format", "json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["fits"] is False and told["models"][0]["fault"].startswith("row 1: ")
    tamper(home, "DELETE FROM alias_moves")
    assert forgeline("audit", "verify").returncode == 0
    done = forgeline("audit", "verify", MODEL, "--head", head)
    assert done.returncode == 1
    assert f"--head: no row of 'digits' that fits has the hash {head}" in done.stderr


def test_a_move_that_was_begun_is_told(registry: Registry, forgeline: Any, home: Path) -> None:
    columns = "model, alias, from_version, to_version, who, moved, why, rollback"
    tamper(
        home, f"INSERT INTO alias_intents ({columns}) VALUES ('{MODEL}', 'champion', 2, 3, 'a', '2026-01-01', '', 0)"
    )
    done = forgeline("audit", "verify")
    assert done.returncode == 0
    assert "champion of digits is being moved to version 3, or a process died at it" in done.stdout
    assert forgeline("models", "history", MODEL).returncode == 0
    assert "being moved" not in forgeline("audit", "verify").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["verfy"], 2, "did you mean `forgeline audit verify`?"),
        (["verify", "digts"], 102, "no alias of 'digts' ever moved; none is known"),
        (["verify", "--head", "0" * 64], 2, "without MODEL"),
        (["verify", MODEL, "--head", "0" * 63], 2, "the 64 hexadecimal digits"),
        (["verify", MODEL, "--head", "g" * 64], 2, "the 64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_verified_is_told(arguments: list[str], code: int, said: str, forgeline: Any) -> None:
    done = forgeline("audit", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ") and said in done.stderr


def test_a_model_that_is_not_there_has_no_history(registry: Registry, forgeline: Any) -> None:
    for options in ((), ("--at", "2020-01-01")):
        done = forgeline("models", "history", "digts", *options)
        assert (done.returncode, done.stdout) == (102, "")
        assert "did you mean `digits`?" in done.stderr
    assert "did you mean `digits`?" in forgeline("audit", "verify", "digts").stderr
