"""What a resumed run still believes of the best checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeline.tracking.spool import Spool
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.checkpoints import Checkpoints, Policy
from forgeline_jobs.train.retention import Retention

BEST = checkpoint.folder_name(7)
STATE = {"monitor": "val/accuracy", "ranking": [[7, [0.9, -0.2]]]}


def _resumed(root: Path, state: dict[str, Any]) -> Checkpoints:
    policy = Policy(
        root=root,
        monitor="val/accuracy",
        higher_is_better=True,
        retention=Retention(last=1),
        every_steps=None,
        run_id="r",
        architecture={"name": "mlp"},
        fingerprint="f",
    )
    nothing: Any = None
    callback = Checkpoints(policy, writer=nothing, spool=Spool(root / "spool"), step_log=nothing, validation=nothing)
    callback.load_state_dict(state)
    return callback


@pytest.fixture
def root(tmp_path: Path) -> Path:
    temporary = tmp_path / ".tmp"
    temporary.mkdir()
    (temporary / checkpoint.STATE).write_bytes(b"state")
    manifest = checkpoint.Manifest(
        run_id="r",
        step=7,
        epoch=1,
        batch=0,
        metrics={},
        digests=checkpoint.synced(temporary, [checkpoint.STATE]),
        architecture={"name": "mlp"},
        fingerprint="f",
    )
    checkpoint.seal(temporary, tmp_path / BEST, manifest)
    return tmp_path


def test_the_best_one_stays_the_best(root: Path) -> None:
    callback = _resumed(root, STATE)
    assert (callback.best, callback.ranking.places) == (BEST, [((0.9, -0.2), 7)])


def test_the_best_one_of_an_older_forgeline_stays_the_best(root: Path) -> None:
    assert _resumed(root, {"monitor": "val/accuracy", "best": BEST, "best_score": (0.9, -0.2)}).best == BEST


def test_best_by_another_metric_does_not_count(root: Path) -> None:
    assert _resumed(root, {**STATE, "monitor": "val/loss"}).best == ""


def test_best_that_is_damaged_or_gone_does_not_count(root: Path) -> None:
    (root / BEST / checkpoint.STATE).write_bytes(b"stat")
    assert _resumed(root, STATE).best == ""
    (root / BEST).rename(root / "elsewhere")
    assert _resumed(root, STATE).best == ""
