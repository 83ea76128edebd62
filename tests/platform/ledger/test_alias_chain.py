"""The chained history of aliases: what fits, and that whatever was done to its rows is found."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgeline.errors import AliasMoved, LedgerError
from forgeline.ledger import migrations, turns
from forgeline.ledger.alias_chain import GENESIS, hash_of
from forgeline.ledger.alias_history import AliasHistory, pointing_at
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import AliasMove
from tests.databases import execute, ledger_url, of_sqlite

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
tampering = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def move(number: int, *, model: str = "digits", since: int | None = None, why: str = "") -> AliasMove:
    return AliasMove(
        model=model,
        alias="champion",
        from_version=since,
        to_version=number,
        who="ann@host",
        moved=START + timedelta(minutes=number, microseconds=number),
        why=why,
    )


def write(url: str, whys: list[str], model: str = "digits") -> list[AliasMove]:
    with AliasHistory(url).turn(model) as writer:
        versions = range(1, len(whys) + 1)
        return [
            writer.append(move(version, model=model, since=version - 1 or None, why=why))
            for version, why in zip(versions, whys, strict=True)
        ]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a fresh ledger, to be copied."""
    url = ledger_url(tmp_path_factory.mktemp("empty"))
    Ledger(url).close()
    return url


@pytest.fixture
def fresh(empty: str, tmp_path: Path) -> Callable[[], str]:
    """Makes a fresh ledger."""
    numbers = itertools.count()

    def copy() -> str:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return ledger_url(folder, like=empty)

    return copy


@pytest.fixture
def copied(fresh: Callable[[], str]) -> Callable[[], Path]:
    """Makes a fresh ledger in a file of SQLite."""
    return lambda: Path(fresh().removeprefix("sqlite:///"))


def do(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """What somebody does who may write to the database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX ix_alias_moves_number")
        for statement, values in statements:
            connection.execute(statement, values)


def found(path: Path) -> int:
    """Place of the first row that does not fit, counted from 1."""
    [chain] = AliasHistory(f"sqlite:///{path}").chains("digits")
    assert chain.fault is not None and chain.fault.startswith(f"row {len(chain.hashes) + 1}: ")
    return len(chain.hashes) + 1


def test_a_row_is_hashed_with_all_it_says_and_the_row_before(url: str) -> None:
    first, second = write(url, ["a", "b"])
    [chain] = AliasHistory(url).chains()
    assert (chain.model, chain.rows, chain.fault, chain.head) == ("digits", 2, None, second.hash)
    assert chain.hashes == (first.hash, second.hash) == tuple(move.hash for move in AliasHistory(url).moves("digits"))
    assert first.hash == hash_of(move(1, why="a"), 1, GENESIS)
    # What is hashed stays as it is: every chain that was ever written depends on it.
    assert first.hash == "35b9e227d452f580ecd4993be0df516fc385c2b0817f0c9d41e630118f99f8cb"


def test_each_model_has_a_chain_of_its_own(url: str) -> None:
    for model in ("one", "two"):
        write(url, ["same"], model)
    one, two = AliasHistory(url).chains()
    assert (one.model, two.model, one.rows, two.rows) == ("one", "two", 1, 1)
    assert one.head != two.head
    assert AliasHistory(url).chains("three") == []


@given(whys=st.lists(TEXT, min_size=1, max_size=6))
@tampering
def test_whatever_is_written_fits(fresh: Callable[[], str], whys: list[str]) -> None:
    url = fresh()
    written = write(url, whys)
    history = AliasHistory(url)
    assert history.moves("digits") == written
    assert [chain.fault for chain in history.chains()] == [None]


IN_SQLITE = st.integers(-(2**63), 2**63 - 1)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "alias": TEXT,
    "from_version": st.none() | st.integers(-(2**40), 2**40),
    "to_version": st.none() | st.integers(-(2**40), 2**40) | TEXT,
    "who": TEXT,
    "moved": st.datetimes().map(lambda moment: moment.isoformat(" ", "microseconds")) | TEXT | IN_SQLITE,
    "why": TEXT | st.binary(min_size=1),
    "rollback": st.integers(-3, 3),
    "model_created": IN_SQLITE,
    "number": st.integers(-3, 12),
    "hash": TEXT | st.text("0123456789abcdef", min_size=64, max_size=64),
}


@of_sqlite
@given(data=st.data(), count=st.integers(1, 6))
@tampering
def test_any_altered_value_is_found_in_its_row_or_the_one_after(
    copied: Callable[[], Path], data: st.DataObject, count: int
) -> None:
    path = copied()
    write(f"sqlite:///{path}", ["why"] * count)
    place = data.draw(st.integers(1, count), label="row")
    column = data.draw(st.sampled_from(sorted(COLUMNS)), label="column")
    with closing(sqlite3.connect(path)) as connection, connection:
        query = f"SELECT {column} FROM alias_moves WHERE id = ?"
        [before] = connection.execute(query, (place,)).fetchone()
        value = data.draw(COLUMNS[column], label="value")
        connection.execute("DROP INDEX ix_alias_moves_number")
        connection.execute(f"UPDATE alias_moves SET {column} = ? WHERE id = ?", (value, place))
        [after] = connection.execute(query, (place,)).fetchone()
    if after == before:
        return
    # A row with a lower number than its own stands before those that it follows.
    assert found(path) <= place


@of_sqlite
@given(data=st.data(), count=st.integers(2, 6))
@tampering
def test_a_row_that_was_removed_is_missed(copied: Callable[[], Path], data: st.DataObject, count: int) -> None:
    path = copied()
    write(f"sqlite:///{path}", ["why"] * count)
    place = data.draw(st.integers(1, count - 1), label="row")
    closed = ("UPDATE alias_moves SET number = number - 1 WHERE number > ?", (place,))
    do(path, ("DELETE FROM alias_moves WHERE number = ?", (place,)), *([closed] if data.draw(st.booleans()) else []))
    assert found(path) == place


@of_sqlite
@given(data=st.data(), count=st.integers(2, 6), whole=st.booleans())
@tampering
def test_rows_that_changed_places_are_found(
    copied: Callable[[], Path], data: st.DataObject, count: int, whole: bool
) -> None:
    path = copied()
    write(f"sqlite:///{path}", ["why"] * count)
    places = st.lists(st.integers(1, count), min_size=2, max_size=2, unique=True)
    one, other = sorted(data.draw(places, label="rows"))
    kept = ["number"] if whole else ["number", "hash"]
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM alias_moves")}
    columns = [column for column in rows[one] if column not in ("id", *kept)]
    setting = ", ".join(f"{column} = ?" for column in columns)
    do(
        path,
        *(
            (f"UPDATE alias_moves SET {setting} WHERE id = ?", (*(rows[theirs][key] for key in columns), place))
            for place, theirs in ((one, other), (other, one))
        ),
    )
    assert found(path) == one


@of_sqlite
@given(data=st.data(), count=st.integers(1, 6), renumbered=st.booleans())
@tampering
def test_a_row_that_was_put_in_is_found(
    copied: Callable[[], Path], data: st.DataObject, count: int, renumbered: bool
) -> None:
    path = copied()
    written = write(f"sqlite:///{path}", ["why"] * count)
    place = data.draw(st.integers(1, count + 1), label="row")
    forged = replace(move(place, why="forged"), moved=data.draw(st.datetimes(timezones=st.just(UTC))))
    # Even one that follows the row before it: the row after it does not, and at the end it needs a hash that fits.
    previous = str(written[place - 2].hash) if place > 1 else GENESIS
    fitting = hash_of(forged, place, previous) if place <= count else "0" * 64
    values = (forged.model, forged.alias, forged.from_version, forged.to_version, forged.who)
    values += (forged.moved.replace(tzinfo=None).isoformat(" ", "microseconds"), forged.why, 0, place, fitting)
    columns = "model, alias, from_version, to_version, who, moved, why, rollback, number, hash"
    shift = ("UPDATE alias_moves SET number = number + 1 WHERE number >= ?", (place,))
    do(
        path,
        *([shift] if renumbered else []),
        (f"INSERT INTO alias_moves ({columns}) VALUES ({', '.join('?' * 10)})", values),
    )
    assert found(path) in (place, place + 1)


def test_what_was_cut_off_the_end_shows_by_a_head_that_was_kept(url: str) -> None:
    written = write(url, ["a", "b", "c"])
    execute(url, "DELETE FROM alias_moves WHERE number = 3")
    [chain] = AliasHistory(url).chains()
    assert chain.fault is None
    assert written[1].hash in chain.hashes and written[2].hash not in chain.hashes


def downgrade(url: str, revision: str) -> None:
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def test_moves_of_an_older_ledger_count_for_every_model_of_the_name(fresh: Callable[[], str]) -> None:
    url = fresh()
    old = write(url, ["a", "b"])
    with AliasHistory(url).turn("digits") as writer:
        writer.intend(move(3, since=2))
    downgrade(url, "0008")
    history = AliasHistory(url)
    assert history.moves("digits") == old and history.intended() == [move(3, since=2)]
    one, other = (replace(move(3, since=2), model_created=created) for created in (1, 2))
    with history.turn("digits") as writer:
        writer.forget(move(3, since=2))
        first = writer.append(one)
        writer.intend(other)
        with pytest.raises(AliasMoved, match="it is version 3"):
            writer.check(replace(one, to_version=4))
        second = writer.seal(other)
    assert history.moves("digits", created=1) == [*old, first] and history.moves("digits", created=2) == [*old, second]
    assert history.heads("digits", created=2) == {"champion": 3} and history.intended() == []
    assert [(chain.rows, chain.fault) for chain in history.chains()] == [(4, None)]


def test_rows_of_an_older_ledger_are_chained_when_it_is_opened(url: str) -> None:
    Ledger(url).close()
    downgrade(url, "0006")
    columns = "model, alias, from_version, to_version, who, moved, why, rollback"
    for version, model in itertools.product((1, 2, 3), ("digits", "wine")):
        execute(
            url,
            f"INSERT INTO alias_moves ({columns}) VALUES (:model, 'champion', :since, :to, 'ann', :at, 'ä', :back)",
            model=model, since=version - 1 or None, to=version, at=f"2026-01-0{version} 00:00:00.000000",
            back=version == 3,
        )  # fmt: skip
    history = AliasHistory(url)
    assert [(chain.model, chain.rows, chain.fault) for chain in history.chains()] == [
        ("digits", 3, None),
        ("wine", 3, None),
    ]
    assert [(one.number, one.to_version, one.rollback) for one in history.moves("wine")] == [
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
    ]
    with history.turn("wine") as writer:
        assert writer.append(move(4, model="wine", since=3)).number == 4
    assert [chain.fault for chain in history.chains()] == [None, None]


def test_a_move_that_starts_elsewhere_is_refused_and_told_where_the_alias_is(url: str) -> None:
    write(url, ["first", "checked by hand"])
    with AliasHistory(url).turn("digits") as writer:
        for since in (None, 1):
            with pytest.raises(
                AliasMoved, match="moved underneath: it is version 2 since .* by ann@host: checked"
            ) as no:
                writer.intend(move(3, since=since))
            assert (no.value.version, no.value.exit_code) == (2, 2)
        assert AliasHistory(url).intended() == []
    with AliasHistory(url).turn("wine") as writer, pytest.raises(AliasMoved, match="no version has it .expected: 2"):
        writer.intend(move(3, model="wine", since=2))


def test_a_move_that_another_process_has_judged_meanwhile_is_not_sealed(url: str) -> None:
    with AliasHistory(url).turn("digits") as writer:
        writer.intend(move(1))
        writer.forget(move(1))
        writer.intend(move(2))
        with pytest.raises(LedgerError, match="the turn .* was lost"):
            writer.seal(move(1))
        assert AliasHistory(url).intended() == [move(2)]
        assert writer.seal(move(2)).number == 1
    assert AliasHistory(url).intended() == []


def test_a_turn_that_is_kept_too_long_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_S", 0.05)
    history = AliasHistory(url)
    with history.turn("digits"):
        with pytest.raises(LedgerError, match="another process has held .*(db.turn|aliases of digits.*) for 0.05 s"):
            with AliasHistory(url).turn("digits"):
                pass
        with pytest.raises(LedgerError, match="did not give a turn for 0.05 s: .*wine"), history.turn("wine"):
            pass
    with AliasHistory(url).turn("digits"):
        pass


def test_where_aliases_pointed_follows_the_rows_even_where_clocks_differ() -> None:
    first, second, third = (replace(move(version), number=version) for version in (1, 2, 3))
    away = replace(move(4, since=3), to_version=None)
    assert pointing_at([first, second, third], START) == []
    assert pointing_at([first, second, third], second.moved) == [second]
    # The third was written by a host whose clock is behind.
    late = replace(third, moved=first.moved)
    assert pointing_at([first, second, late], second.moved + timedelta(hours=1)) == [late]
    assert pointing_at([first, away], away.moved) == []
    other = replace(second, alias="archived")
    assert pointing_at([first, other], third.moved) == [other, first]
