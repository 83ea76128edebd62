"""A sweep whose processes are killed ends as one that nobody touched; `make acceptance ONLY=sweep-kill` has many."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import sweep_kill

pytestmark = pytest.mark.ray

TRIALS = 3


def test_killed_twice_it_has_the_trials_and_values_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_kill, "LEFT_ALONE_S", (0.2, 1.0))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spec = sweep_kill.write_spec(tmp_path, at_once=1, epochs=27, trials=TRIALS)
    whole, other = sweep_kill.Sweep(spec), sweep_kill.Sweep(spec)
    whole.start()
    whole.wait()
    done = other.kill_in_turn(["trial", "raylet"], random.Random(0), print)
    assert (done.victims, done.resumes, done.orphans) == (["trial", "raylet"], 1, 0)
    assert sweep_kill.differences(whole.trials(), other.trials()) == []
    assert sweep_kill.whole_and_once(other, TRIALS) == {"lost": 0, "repeated": 0, "failed": 0}
