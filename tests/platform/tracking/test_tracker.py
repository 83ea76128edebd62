from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from forgeline.errors import NotFound, TrackingError
from forgeline.tracking.tracker import Point, Tracker


def test_a_run_is_created_in_its_experiment_with_its_tags(tracker: Tracker) -> None:
    run = tracker.get(tracker.create_run("with/slash", "digits", {"forgeline.kind": "train"}))
    assert run.status == "RUNNING"
    assert run.tags["forgeline.kind"] == "train"
    assert run.tags["mlflow.runName"] == "digits"
    assert "/artifacts/with%2Fslash/" in run.artifact_uri


@pytest.mark.parametrize(
    ("state", "status"),
    [("succeeded", "FINISHED"), ("failed", "FAILED"), ("cancelled", "KILLED"), ("timed_out", "KILLED")],
)
def test_the_final_state_is_written_and_a_resumed_run_is_open_again(
    tracker: Tracker, run_id: str, state: str, status: str
) -> None:
    tracker.finish(run_id, state, reason="node_lost")
    run = tracker.get(run_id)
    assert (run.status, run.tags["forgeline.state"], run.tags["forgeline.reason"]) == (status, state, "node_lost")
    tracker.reopen(run_id)
    assert tracker.get(run_id).status == "RUNNING"
    tracker.finish(run_id, "succeeded")
    run = tracker.get(run_id)
    assert (run.status, run.tags["forgeline.state"]) == ("FINISHED", "succeeded")
    assert "forgeline.reason" not in run.tags


def test_points_travel_in_batches_and_none_breaks_its_batch(tracker: Tracker, run_id: str) -> None:
    odd = [math.nan, math.inf, -math.inf, 1e308]
    points = [
        Point(key=f"val/f1[{step % 2}]", value=odd[step % 4] if step < 8 else float(step), step=step, time_ms=step)
        for step in range(2500)
    ]
    tracker.log_points(run_id, points)
    even = tracker.metric_history(run_id, "val/f1[0]")
    assert [point.step for point in even] == list(range(0, 2500, 2))
    assert math.isnan(even[0].value)
    assert even[-1].value == 2498.0
    assert tracker.get(run_id).metrics["val/f1/1"] == 2499.0


def test_the_same_points_again_do_no_harm(tracker: Tracker, run_id: str) -> None:
    points = [Point(key="train/loss", value=0.5, step=1, time_ms=1)] * 2
    tracker.log_points(run_id, points)
    tracker.log_points(run_id, points)
    assert tracker.metric_history(run_id, "train/loss") == points[:1]


def test_parameters_are_many_long_and_never_change(tracker: Tracker, run_id: str) -> None:
    tracker.log_params(run_id, {f"p{number}": number for number in range(250)} | {"notes": "x" * 10_000})
    tracker.log_params(run_id, {"p0": 0, "p1": "new", "later": True})
    run = tracker.get(run_id)
    assert len(run.params) == 252
    assert run.params["notes"].endswith("… (cut, 10000 characters)")
    assert (run.params["p1"], run.params["later"]) == ("1", "True")
    assert run.tags["forgeline.changed.p1"] == "new"
    assert "forgeline.changed.p0" not in run.tags


def test_credentials_are_never_tracked(tracker: Tracker, run_id: str) -> None:
    tracker.log_params(run_id, {"data.path": "s3://key:secret@bucket/data.csv"})
    tracker.set_tags(run_id, {"source": "https://ann:secret@host/repository"})
    run = tracker.get(run_id)
    assert run.params["data.path"] == "s3://***@bucket/data.csv"
    assert run.tags["source"] == "https://***@host/repository"


def test_files_folders_and_texts_are_logged(tracker: Tracker, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.svg").write_text("<svg/>")
    (tmp_path / "spec.yaml").write_text("kind: train\n")
    tracker.log_artifacts(run_id, tmp_path / "spec.yaml")
    tracker.log_artifacts(run_id, tmp_path / "plots", "plots")
    tracker.log_artifacts(run_id, tmp_path / "missing", "plots")
    tracker.log_text(run_id, "hello", "environment/note.txt")
    folder = Path(tracker.get(run_id).artifact_uri.removeprefix("file://"))
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"spec.yaml", "plots/roc.svg", "environment/note.txt"}


def test_an_unknown_run_is_not_found(tracker: Tracker) -> None:
    with pytest.raises(NotFound, match="nope"):
        tracker.get("nope")


def test_a_server_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127.0.0.1:9 did not do") as caught:
        Tracker("http://ann:secret@127.0.0.1:9").check()
    assert "secret" not in str(caught.value)


def test_processes_that_meet_a_fresh_store_at_once_all_succeed_and_say_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from forgeline.tracking.tracker import Tracker\n"
        "tracker = Tracker(sys.argv[1], sys.argv[2])\n"
        "tracker.finish(tracker.create_run('same', 'n'), 'succeeded')\n"
    )
    arguments = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "artifacts").as_uri()]
    processes = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)
    ]
    said = [process.communicate()[0] for process in processes]
    assert said == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)
