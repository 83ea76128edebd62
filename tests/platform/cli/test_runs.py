"""`forgeline runs` on runs that are written into the ledger by hand: nothing is started."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.cli.app import main
from forgeline.launching.events import EventLog
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths

RUN = "0123456789abcdef"


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(
        id=RUN, name="digits", kind="toy", spec="kind: toy\nname: digits\npassword: hunter2\n", labels={"team": "risk"}
    )
    ledger.transition(RUN, "starting")
    ledger.start_attempt(RUN, "first")
    ledger.transition(RUN, "running")
    yield ledger
    ledger.close()


def test_following_shows_events_and_output_to_the_very_end(
    ledger: Ledger, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = RunPaths(home, RUN)
    log = paths.rank_log(attempt=1, rank=0)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"step 1\nhalf a line, gr" + "ö".encode()[:1])
    events = EventLog(paths.events)
    events.emit("state", state="running")

    def end() -> None:
        time.sleep(0.5)
        with log.open("ab") as file:
            file.write("ö".encode()[1:] + "ße: killed".encode())
        events.emit("epoch", epoch=1, epochs=2, step=5, metrics={"val/loss": 0.25})
        ledger.transition(RUN, "failed", "user_error", "killed")
        # The ledger knows it a moment before the events do.
        time.sleep(0.5)
        events.emit("state", state="failed", reason="user_error", message="killed")
        events.close()

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(SystemExit) as caught:
        main(["runs", "logs", "-f", RUN])
    ending.join()
    assert caught.value.code == 100
    assert capfd.readouterr().out.splitlines() == [
        "running",
        "rank 0: step 1",
        "epoch 1/2, step 5: val/loss 0.25",
        "failed: killed",
        "rank 0: half a line, größe: killed",
    ]


def test_a_run_whose_host_is_gone_is_written_down_by_hand(ledger: Ledger, forgeline: Any) -> None:
    assert forgeline("runs", "cancel", RUN, "--force").stdout == f"run {RUN}: failed\n"
    again = forgeline("runs", "cancel", RUN, "--force")
    assert (again.returncode, "has ended already (failed)" in again.stderr) == (2, True)
    ledger.resume(RUN, driver_host=socket.gethostname(), driver_pid=os.getpid())
    here = forgeline("runs", "cancel", RUN, "--force")
    assert (here.returncode, "cancel it without --force" in here.stderr) == (2, True)


def test_logs_of_a_resumed_run(ledger: Ledger, home: Path, forgeline: Any) -> None:
    paths = RunPaths(home, RUN)
    ledger.transition(RUN, "cancelled", "cancelled", "cancelled on request")
    for attempt, file, cause in ((1, "events.1.jsonl", "first"), (2, "events.jsonl", "resume")):
        events = EventLog(paths.events.with_name(file))
        events.emit("state", state="queued")
        if attempt > 1:
            events.emit("attempt", number=attempt, cause=cause, step=4)
        events.emit("state", state="cancelled", reason="cancelled", message="cancelled on request")
        events.close()
        for rank in (0, 1):
            log = paths.rank_log(attempt=attempt, rank=rank)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"{attempt}.{rank}\n")
    paths.driver_log.write_text("driving\n")

    def lines(*options: object) -> list[str]:
        done = forgeline("runs", "logs", RUN, *options)
        assert done.returncode == 0, done.stderr
        return list(done.stdout.splitlines())

    first = ["queued", "cancelled: cancelled on request"]
    second = ["queued", "attempt 2 (resume), from step 4", "cancelled: cancelled on request"]
    workers = [f"attempt {attempt}, rank {rank}: {attempt}.{rank}" for attempt in (1, 2) for rank in (0, 1)]
    assert lines() == [*first, *second, *workers, "driver: driving"]
    assert lines("--attempt", 1) == [*first, "rank 0: 1.0", "rank 1: 1.1"]
    assert lines("--attempt", 2, "--rank", 1) == ["rank 1: 2.1"]
    assert lines("--source", "driver") == ["driver: driving"]
    assert forgeline("runs", "logs", RUN, "--rank", 7).returncode == 102


def test_a_run_that_died_without_a_word_still_has_an_end_in_its_log(ledger: Ledger, home: Path, forgeline: Any) -> None:
    events = EventLog(RunPaths(home, RUN).events)
    events.emit("state", state="running")
    events.close()
    ledger.transition(RUN, "failed", "platform_error", "it died")
    assert forgeline("runs", "logs", RUN).stdout.splitlines() == ["running", "failed: it died"]


def test_showing_a_run_that_goes_on(ledger: Ledger, home: Path, forgeline: Any) -> None:
    events = EventLog(RunPaths(home, RUN).events)
    events.emit("step", step=3, steps=10, epoch=1, epochs=2, loss=0.5, eta_s=7.0)
    events.emit("checkpoint", step=3, path="step-3")
    events.close()
    assert "progress  epoch 1/2, step 3/10, loss 0.5, 7.0 s left" in forgeline("runs", "show", RUN).stdout
    told = json.loads(forgeline("runs", "show", RUN, "--format", "json").stdout)
    assert (told["run"], told["priority"], told["labels"], told["ended"]) == (RUN, 0, {"team": "risk"}, None)
    assert told["progress"]["step"] == 3
    assert told["took_s"] > 0
    assert told["created"] and told["started"]


def test_showing_a_run_that_ended(ledger: Ledger, forgeline: Any) -> None:
    spec = "kind: toy\nname: measure\nmodel: models:/digits@champion\n"
    ledger.create_run(id="fedcba98", name="measure", kind="toy", spec=spec)
    for state in ("starting", "running"):
        ledger.transition("fedcba98", state)
    ledger.transition("fedcba98", "succeeded", result={"step": 80})
    shown = forgeline("runs", "show", "measure").stdout
    assert "models:/digits@champion" in shown
    assert re.search(r"chosen step +80\n", shown)


def test_took_leaves_out_what_lies_between_attempts(ledger: Ledger) -> None:
    ledger.end_attempt(RUN, 1, "failed", "hang")
    before = ledger.took_s(RUN)
    time.sleep(0.2)
    assert ledger.took_s(RUN) == before


def test_the_story_of_a_run_has_what_was_done_again_and_what_it_cost(ledger: Ledger, forgeline: Any) -> None:
    ledger.describe_attempt(RUN, 1, first_step=0, workers=2, gpus=0.0)
    ledger.end_attempt(RUN, 1, "failed", "hang", "rank 1 made no progress", last_step=603)
    ledger.describe_attempt(RUN, 1, lost_s=4.5)
    ledger.start_attempt(RUN, "hang")
    ledger.describe_attempt(RUN, 2, first_step=500, workers=2, gpus=0.0)
    shown = forgeline("runs", "show", RUN).stdout
    assert re.search(r"lost +103 steps done again, 9 worker-s lost\n", shown)
    first, second = shown[shown.index("number") :].splitlines()[1:3]
    assert re.fullmatch(
        r"1 +first +\S+ \S+ +\d.* +0 to 603 +103 +9 worker-s +failed: hang +rank 1 made no progress", first
    )
    assert re.fullmatch(r"2 +hang +\S+ \S+ +\d.* +500 to \? +goes on", second)
    told = json.loads(forgeline("runs", "show", RUN, "--format", "json").stdout)
    assert (told["steps_redone"], told["lost_s"], told["lost_worker_s"], told["lost_gpu_s"]) == (103, 4.5, 9.0, 0.0)
    assert (told["attempts"][0]["steps_redone"], told["attempts"][0]["reason"]) == (103, "hang")


def test_the_story_has_what_was_chosen_and_a_resize_is_no_failure(ledger: Ledger, forgeline: Any) -> None:
    ledger.describe_attempt(RUN, 1, first_step=0, workers=2, chosen={"workers": 2, "micro_batch": 8, "why": "it fits"})
    ledger.end_attempt(RUN, 1, "cancelled", "resized", "there is room for 4 workers", last_step=60)
    ledger.start_attempt(RUN, "resized")
    ledger.describe_attempt(RUN, 2, first_step=60, workers=4, chosen={"workers": 4, "why": "more fits"})
    shown = forgeline("runs", "show", RUN).stdout
    assert re.search(r"choice +more fits\n", shown)
    first, second = shown[shown.index("number") :].splitlines()[1:3]
    assert re.fullmatch(
        r"1 +first +workers 2, micro batch 8 +\S+ \S+ +\d.* +0 to 60 +resized +there is room for 4 workers", first
    )
    assert re.fullmatch(r"2 +resized +workers 4 +\S+ \S+ +\d.* +60 to \? +goes on", second)
    told = json.loads(forgeline("runs", "show", RUN, "--format", "json").stdout)["attempts"]
    assert told[0]["chosen"] == {"workers": 2, "micro_batch": 8, "why": "it fits"}


def test_a_listing_has_short_ids_and_says_when_nothing_matches(ledger: Ledger, forgeline: Any) -> None:
    heading, row = forgeline("runs", "list").stdout.splitlines()
    assert row.startswith(f"{RUN[:8]}  digits  toy   running")
    assert heading == heading.rstrip()
    assert json.loads(forgeline("runs", "list", "--format", "json").stdout)[0]["id"] == RUN
    for nothing in (["--name", "nosuch"], ["--state", "failed"], ["--kind", "train"]):
        assert forgeline("runs", "list", *nothing).stdout == "no run matches\n"
    unknown = forgeline("runs", "list", "--kind", "foo")
    assert unknown.returncode == 2
    assert "known: deployment, evaluate, predict, sweep, toy, train" in unknown.stderr


def test_comparing_shows_no_secrets(ledger: Ledger, forgeline: Any) -> None:
    ledger.create_run(id="another", name="digits", kind="toy", spec="kind: toy\nname: digits\npassword: hunter3\n")
    done = forgeline("runs", "compare", RUN, "another")
    assert done.returncode == 0, done.stderr
    assert "hunter" not in done.stdout
