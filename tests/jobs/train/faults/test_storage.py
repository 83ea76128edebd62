"""Disks that are full, checkpoints that are damaged or from the future, a ledger that is away."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forgeline.settings import settings
from forgeline_jobs.train import checkpoint
from tests.jobs.train.faults.scene import INTERVAL, MIDDLE, Outcome, Scene, command, signal_rank

pytestmark = [pytest.mark.ray, pytest.mark.acceptance]

Make = Callable[..., Scene]
Tell = Callable[[Outcome], None]
FREE = 40 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a few checkpoints."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={FREE}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_disk_is_full_at_a_checkpoint(scene: Make, small_disk: Path, tell: Tell) -> None:
    found = scene(checkpoint__keep_last=100)
    found.start()
    found.run.paths.checkpoints.symlink_to(small_disk)
    outcome = found.outcome()
    assert (outcome.state, outcome.reason, outcome.exit_code) == ("failed", "platform_error", 100)
    assert "No space left on device" in outcome.message
    whole = [folder for folder in checkpoint.folders(small_disk) if checkpoint.verified(folder)]
    assert whole, "the checkpoints before are gone"
    subprocess.run(["mount", "-o", f"remount,size={64 * FREE}", str(small_disk)], check=True)
    found.start(resume=True)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "resume"))
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.redone <= INTERVAL + 5, "more than to the checkpoint before, and what was done while this one failed"


def test_the_newest_checkpoint_is_truncated(scene: Make, tell: Tell) -> None:
    found = scene(retry__node_lost=1, checkpoint__keep_last=3)
    found.start()
    beats = found.when_at(MIDDLE)
    newest = checkpoint.folders(found.run.paths.checkpoints)[-1]
    with (newest / checkpoint.STATE).open("r+b") as file:
        file.truncate(100)
    signal_rank(beats, 1, signal.SIGKILL)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "node_lost"))
    assert f"{newest.name} is damaged" in found.run.paths.events.read_text(encoding="utf-8")
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert INTERVAL < outcome.redone <= 2 * INTERVAL


def test_the_checkpoint_is_of_a_newer_version(scene: Make, tell: Tell) -> None:
    found = scene()
    found.start()
    found.when_at(MIDDLE)
    os.kill(found.run.record.driver_pid, signal.SIGKILL)
    assert command("runs", "wait", found.run.id).returncode == 100
    newest = checkpoint.folders(found.run.paths.checkpoints)[-1]
    manifest = json.loads((newest / checkpoint.MANIFEST).read_text())
    newer = {**manifest, "format": checkpoint.FORMAT + 1}
    (newest / checkpoint.MANIFEST).write_text(json.dumps(newer))
    refused = command("run", str(found.spec), "--resume", found.run.id)
    assert refused.returncode != 0
    assert f"format {checkpoint.FORMAT + 1}" in refused.stderr + refused.stdout
    (newest / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    found.start(resume=True)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code) == ("succeeded", 0)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.redone <= INTERVAL


@pytest.mark.parametrize("how", ["locked", "gone"])
def test_the_ledger_is_away_for_a_while(scene: Make, tell: Tell, how: str) -> None:
    found = scene(retry__node_lost=1)
    found.start()
    beats = found.when_at(MIDDLE)
    ledger = Path(settings().resolved_ledger_url.removeprefix("sqlite:///"))
    if how == "locked":
        lock = sqlite3.connect(ledger, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
    else:
        ledger.parent.chmod(0)
        aside = [(path, path.with_name(f"away-{path.name}")) for path in ledger.parent.glob(f"{ledger.name}*")]
        ledger.parent.chmod(0o700)
        for path, away in aside:
            path.rename(away)
    signal_rank(beats, 1, signal.SIGKILL)
    time.sleep(10)
    if how == "locked":
        lock.close()
    else:
        for path, away in aside:
            away.replace(path)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "node_lost"))
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.redone <= INTERVAL
