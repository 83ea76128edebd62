"""`forgeline monitor`: what it shows, what a replay says, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forgeline.bundle.reference import Reference
from forgeline.errors import ForgelineError, NotFound, SpecError, UsageError
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.commands import MONITOR
from forgeline_deploy.monitor.recorded import Recorded, open_recorded
from forgeline_deploy.monitor.replay import replay
from tests.deploy.monitor.test_monitor import Watching


def monitor(*arguments: Any) -> int:
    """The command as the root of the command line runs it."""
    code = MONITOR.load().main([*map(str, arguments)], prog_name="forgeline monitor", standalone_mode=False)
    return code if isinstance(code, int) else 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> Path:
    """Six windows of a deployment, the fourth and fifth with drift, and one more with late rows."""
    home = tmp_path_factory.mktemp("home")
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(id="deployment1", name="digits", kind="deployment", spec="")
    ledger.create_run(id="training1", name="training", kind="train", spec="")
    watching = Watching(
        Journal(ledger, ledger.get("deployment1")), home / "runs" / "deployment1" / "windows", reference
    )
    for number in range(6):
        watching.window(number, shift={3: 0.9, 4: 0.9}.get(number, 0.0))
    from tests.deploy.monitor.traffic import batch

    watching.replica.record(batch(7, 22.0, seed=99))
    watching.window(6)
    watching.window(8)
    ledger.close()
    return home


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(home))
    monkeypatch.delenv("FORGELINE_LEDGER_URL", raising=False)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_windows_are_listed_with_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor("windows", "digits") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["number", "start", "late", "rows", "requests", "judged", "rows", "found"]
    assert lines[3].endswith("ticket usage") and [line for line in lines if " late " in line]
    monitor("windows", "digits", "--format", "json", "--limit", 2, "--since", "1970-01-01T00:00:35+00:00")
    assert [row["number"] for row in printed(capsys)] == [6, 8]


def test_show_tells_how_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor("show", "deployment1") == 0
    out = capsys.readouterr().out
    assert "nothing is wrong" in out and "champion 1" in out and "1 per 1h false alarms" in out
    monitor("show", "digits", "--format", "json")
    told = printed(capsys)
    assert (told["windows"], told["late_rows"], told["run"]) == (8, 7, "deployment1")


def test_a_replay_by_the_same_policy_decides_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recorded = open_recorded("digits")
    again = list(replay(recorded, recorded.policy))
    assert len(again) == 8 and all(one.decided == one.would for one in again)
    assert [bool(one.decided) for one in again] == [False, False, False, True, True, False, False, False]


def test_a_replay_by_another_policy_stands_beside_what_was_decided(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "new.yaml"
    other.write_text("monitor:\n  tolerance: {default: 1.5 sigma}\n  alert: [{log: true}]\n")
    assert monitor("replay", "digits", "--spec", other) == 0
    out = capsys.readouterr().out
    assert "2 of 8 windows would be decided otherwise" in out and "ticket usage" in out
    other.write_text("window: 20s\n")
    monitor("replay", "digits", "--spec", other, "--format", "json", "--all", "--since", "1970-01-01T00:00:20+00:00")
    told = printed(capsys)
    assert [one["windows"] for one in told["decisions"]] == [[2, 3], [4, 5], [6], [8]]
    assert told["policy"]["window"] == "20s" and told["decisions"][1]["would"][0]["subject"] == "usage"


def refusal(kind: type[ForgelineError], *arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        monitor(*arguments)
    return str(caught.value)


def test_what_is_refused_says_what_is_allowed(tmp_path: Path) -> None:
    other = tmp_path / "new.yaml"
    other.write_text("window: 15s\n")
    assert "allowed: a multiple of that" in refusal(UsageError, "replay", "digits", "--spec", other)
    other.write_text("monitor:\n  windows: 15s\n")
    assert "did you mean `window`" in refusal(SpecError, "replay", "digits", "--spec", other)
    other.write_text("monitor: {tolerance: {features: {usages: 0}}}\n")
    assert "names 'usages'" in refusal(UsageError, "replay", "digits", "--spec", other)
    other.write_text("monitor: {promise: {false_alarms: 1 per 60s}}\n")
    assert "a false alarm every 6 windows" in refusal(SpecError, "replay", "digits", "--spec", other)
    assert "has no monitor" in refusal(UsageError, "show", "training")
    assert "no run 'digit'" in refusal(NotFound, "show", "digit")
    assert "--since" in refusal(UsageError, "windows", "digits", "--since", "yesterday")


def test_a_window_that_was_altered_is_left_out_and_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = open_recorded("digits")
    path = recorded.folder.path / recorded.window(5).file.name
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1])
        broken: list[str] = []
        assert len(list(replay(recorded, recorded.policy, broken=broken))) == 7
        assert broken[0].startswith("window 5: ") and "was altered" in broken[0]
    finally:
        path.write_bytes(whole)
    with pytest.raises(NotFound, match="has no window 50"):
        recorded.window(50)
    assert isinstance(recorded, Recorded)
