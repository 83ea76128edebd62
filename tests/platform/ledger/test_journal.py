"""A journal: entries in order, all or none, and only by the driver that has the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgeline.errors import LedgerError
from forgeline.ledger.journal import Journal, Overtaken, Superseded
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.once import AlreadyBegun
from forgeline.ledger.records import RunRecord
from tests.databases import execute, ledger_url

NewRun = Callable[..., RunRecord]
numbers = st.floats(allow_nan=False, allow_infinity=False)
entries = st.dictionaries(st.text(), st.one_of(st.none(), st.booleans(), st.text(), numbers), max_size=3)


@given(st.lists(st.lists(entries, min_size=1, max_size=3), max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read_in_order_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[dict[str, object]]]
) -> None:
    ledger = Ledger(ledger_url(tmp_path_factory.mktemp("ledger")))
    run = ledger.create_run(id="run1", name="s", kind="sweep", spec="")
    journal = Journal(ledger, run)
    for together in written:
        journal.append(*together)
    flat = [entry for together in written for entry in together]
    assert list(journal.entries) == flat == ledger.journal("run1")
    assert list(Journal(ledger, run).entries) == flat
    ledger.close()


def test_a_driver_that_lost_its_run_writes_nothing(ledger: Ledger, new_run: NewRun) -> None:
    lost = Journal(ledger, new_run("run1", driver_host="here", driver_pid=1))
    lost.append({"entry": 1})
    ledger.transition("run1", "failed", "platform_error")
    with pytest.raises(Superseded):
        lost.append({"entry": 2})
    ledger.resume("run1", driver_host="here", driver_pid=2)
    with pytest.raises(Superseded):
        lost.append({"entry": 2})
    Journal(ledger, ledger.get("run1")).append({"entry": 3})
    assert ledger.journal("run1") == [{"entry": 1}, {"entry": 3}]


def test_entries_that_cannot_all_be_written_are_none(ledger: Ledger, new_run: NewRun, url: str) -> None:
    run = new_run("run1")
    journal = Journal(ledger, run)
    execute(url, "INSERT INTO journal VALUES ('run1', 1, '2026-01-01', '{}')")
    with pytest.raises(LedgerError, match="refused a record"):
        journal.append({"entry": 0}, {"entry": 1})
    assert journal.entries == () and len(ledger.journal("run1")) == 1


def test_what_was_written_before_the_answer_got_lost_is_there_once(
    ledger: Ledger, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(ledger, new_run("run1"))
    write = ledger.writer.append_to_journal

    def cut_off(*given: object) -> bool:
        write(*given)  # type: ignore[arg-type]
        raise LedgerError("the connection was lost")

    monkeypatch.setattr(ledger.writer, "append_to_journal", cut_off)
    journal.append({"entry": 0})
    monkeypatch.undo()
    journal.append({"entry": 1})
    assert ledger.journal("run1") == [{"entry": 0}, {"entry": 1}]


def test_parts_of_a_run_are_listed_only_as_such(ledger: Ledger, new_run: NewRun, tmp_path: Path) -> None:
    new_run("whole", kind="sweep")
    new_run("part", parent="whole")
    assert [run.id for run in ledger.list_runs()] == ["whole"]
    assert [run.id for run in ledger.list_runs(parent="whole")] == ["part"]
    assert {run.id for run in ledger.list_runs(parts=True)} == {"whole", "part"}
    assert ledger.get("part").parent == "whole"


def test_who_was_overtaken_writes_nothing_until_it_has_read_on(ledger: Ledger, new_run: NewRun) -> None:
    run = new_run("run1")
    first, second = Journal(ledger, run), Journal(ledger, run)
    first.append({"entry": 1})
    with pytest.raises(Overtaken, match="another process wrote"):
        second.append({"entry": 2})
    assert second.entries == () and second.refresh() == ({"entry": 1},)
    second.append({"entry": 2})
    assert ledger.journal("run1") == [{"entry": 1}, {"entry": 2}]


def test_a_run_that_is_begun_once_is_not_begun_twice(ledger: Ledger, new_run: NewRun) -> None:
    labels = {"forgeline.once": "retrain/a/1", "team": 'a "b" c'}
    assert ledger.begun_once("retrain/a/1") is None
    new_run("run1", labels=labels)
    with pytest.raises(AlreadyBegun, match="run1"):
        new_run("run2", labels=labels)
    new_run("run3", labels={"forgeline.once": "retrain/a/2"})
    new_run("run4", labels={})
    found = ledger.begun_once("retrain/a/1")
    assert found is not None and found.id == "run1" and len(ledger.list_runs()) == 3
