"""The Python API: the same runs as the command line's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import forgeline as fl
from forgeline.errors import NotFound, RunFailed, SpecError, UsageError

pytestmark = pytest.mark.ray


def test_a_run_from_python(toy_spec: Any, home: Path, processes: Any) -> None:
    seen: list[str] = []
    spec = fl.load(toy_spec(), set={"steps": 3})
    run = fl.run(spec, set={"steps": 4}, progress=lambda event: seen.append(event["event"]))
    assert (run.state, run.reason, run.name) == ("succeeded", None, "count")
    assert run.metrics == {"val/loss": 0.25}
    assert run.result["first"] == 0
    assert [attempt.number for attempt in run.attempts] == [1]
    assert run.logs()[-1] == "step 4"
    assert run.logs(rank=7) == []
    assert run.wait() == "succeeded"
    assert run.model_version is None
    assert run.artifacts == home / "runs" / run.id / "artifacts"
    assert seen[0] == "run" and seen[-1] == "state"
    assert processes() == []
    assert fl.get("count").id == run.id
    assert repr(run) == f"<Run {run.id} 'count' succeeded>"
    with pytest.raises(RunFailed, match="without a bundle"):
        _ = run.bundle
    with pytest.raises(UsageError, match="nothing to cancel"):
        run.cancel()


@pytest.mark.usefixtures("toy_environment")
def test_what_is_wrong_is_raised_before_anything_starts(toy_spec: Any, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="only false is allowed") as caught:
        fl.run(toy_spec(wrong="true"))
    assert caught.value.line == 3
    with pytest.raises(SpecError, match="steps"):
        fl.load(toy_spec(stepz=1))
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.usefixtures("toy_environment")
def test_a_run_that_is_not_there() -> None:
    with pytest.raises(NotFound):
        fl.get("nothing")
