"""`forgeline runs sync` on runs that are written down by hand, and a real MLflow store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from forgeline.cli.app import main
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths
from forgeline.settings import settings
from forgeline.tracking.spool import Spool
from forgeline.tracking.tracker import Point, Tracker


@pytest.fixture
def tracker(home: Path) -> Tracker:
    return Tracker(settings().resolved_tracking_uri, settings().artifact_root)


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    yield ledger
    ledger.close()


@pytest.fixture
def run(home: Path, ledger: Ledger, tracker: Tracker) -> str:
    """A run that goes on, in a store that has none of its three points."""
    run_id = tracker.create_run("forgeline", "digits")
    ledger.create_run(id=run_id, name="digits", kind="toy", spec="kind: toy\nname: digits\npassword: hunter2\n")
    ledger.transition(run_id, "starting")
    ledger.start_attempt(run_id, "first")
    ledger.transition(run_id, "running")
    with Spool(RunPaths(home, run_id).spool(attempt=1, rank=0)) as spool:
        for step in (1, 2, 3):
            spool.metrics(step, {"train/loss": 1 / step})
    return run_id


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["runs", "sync", *arguments])
        said = capfd.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return call


Call = Callable[..., tuple[int, str, str]]


def test_what_an_outage_kept_back_is_sent_once(run: str, ledger: Ledger, tracker: Tracker, call: Call) -> None:
    ledger.transition(run, "succeeded")
    code, out, err = call("digits", "--format", "json")
    assert (code, err) == (0, "")
    [row] = json.loads(out)
    assert row == {
        "id": run,
        "name": "digits",
        "state": "succeeded",
        "sent": 3,
        "left": 0,
        "damaged_lines": 0,
        "error": None,
    }
    assert [point.step for point in tracker.metric_history(run, "train/loss")] == [1, 2, 3]
    tracked = tracker.get(run)
    assert (tracked.status, tracked.params) == ("FINISHED", {"kind": "toy", "name": "digits", "password": "***"})
    assert json.loads(call(run[:8], "--format", "json")[1])[0]["sent"] == 0
    assert call("--all") == (0, "nothing is left to be sent\n", "")
    assert [point.step for point in tracker.metric_history(run, "train/loss")] == [1, 2, 3]


def test_all_runs_and_damaged_lines(run: str, home: Path, ledger: Ledger, tracker: Tracker, call: Call) -> None:
    spool = RunPaths(home, run).spool(attempt=1, rank=0)
    spool.write_bytes(spool.read_bytes().replace(b'"step":2', b'"step":7'))
    ledger.transition(run, "failed", "node_lost")
    ledger.create_run(id="elsewhere", name="gone", kind="toy", spec="kind: toy\n")
    ledger.transition("elsewhere", "cancelled", "cancelled")
    RunPaths(home, "elsewhere").root.mkdir()
    code, out, err = call("--all")
    assert code == 0
    assert out.splitlines()[1].split() == [run[:8], "digits", "failed", "2", "0"]
    assert err.startswith(f"warning: run {run}: 1 line of the spool cannot be read")
    # No checkpoint covers them, and a resumed run would take these steps again.
    assert tracker.metric_history(run, "train/loss") == []
    assert [point.step for point in tracker.metric_history(run, "live/train/loss")] == [1, 3]
    code, out, err = call("gone")
    assert (code, "gone" in out, "error: run elsewhere" in err) == (1, True, True)


def test_a_run_that_was_resumed_and_ended_while_the_store_was_away(
    run: str, ledger: Ledger, tracker: Tracker, call: Call
) -> None:
    tracker.finish(run, "failed", reason="node_lost")
    ledger.transition(run, "succeeded")
    assert call("digits")[0] == 0
    tracked = tracker.get(run)
    assert (tracked.status, tracked.tags["forgeline.state"]) == ("FINISHED", "succeeded")
    assert "forgeline.reason" not in tracked.tags


@pytest.mark.parametrize("arguments", [["digits"], ["--all"]])
def test_a_run_that_is_resumed_while_its_points_are_sent_goes_on(
    run: str,
    arguments: list[str],
    ledger: Ledger,
    tracker: Tracker,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.transition(run, "failed", "node_lost")
    log_points = Tracker.log_points

    def resume_meanwhile(self: Tracker, run_id: str, points: Sequence[Point]) -> None:
        log_points(self, run_id, points)
        ledger.resume(run)

    monkeypatch.setattr(Tracker, "log_points", resume_meanwhile)
    code, out, err = call(*arguments)
    if arguments == ["--all"]:
        assert (code, out, err) == (0, "nothing is left to be sent\n", "")
    else:
        assert (code, "its driver sends its points while it goes on" in err) == (1, True)
    tracked = tracker.get(run)
    assert tracked.status == "RUNNING" and "forgeline.state" not in tracked.tags


def test_a_store_that_is_still_down(run: str, ledger: Ledger, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.transition(run, "succeeded")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, out, err = call("digits")
    assert (code, out) == (1, "")
    assert err.startswith("error: the tracking store at http://127.0.0.1:9 did not do what was asked")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "sync takes runs or --all, got neither"),
        (["digits", "--all"], 2, "sync takes runs or --all, got both"),
        (["digist"], 102, "did you mean `digits`"),
        (["digits"], 101, "is running; its driver sends its points"),
    ],
)
def test_what_is_refused(arguments: list[str], code: int, said: str, run: str, call: Call) -> None:
    got, out, err = call(*arguments)
    assert (got, out) == (code, "")
    assert said in err and err.startswith("error: ")
