"""`forgeline deployments`: what is listed and shown from the ledger, logs, and a stop; without Ray."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.bundle import Bundle
from forgeline.errors import NotFinished, NotFound
from forgeline.launching.events import EventLog
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths
from forgeline_deploy.commands import DEPLOYMENTS
from forgeline_deploy.deployment.kind import SERVING
from forgeline_deploy.deployment.pinning import Pinned
from tests.deploy.serving.conftest import Local
from tests.deploy.serving.test_server import serving

RUN = "a1b2c3d4e5f6"
PINNED = Pinned(
    role="champion", reference="models:/digits@champion", model="digits", version="3", digest="d" * 64, bundle="/b"
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """One deployment that this process drives, and a training."""
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    monkeypatch.delenv("FORGELINE_LEDGER_URL", raising=False)
    found = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    begin(found, RUN)
    found.create_run(id="training1", name="training", kind="train", spec="")
    yield found
    found.close()


def begin(ledger: Ledger, run: str) -> None:
    here: dict[str, Any] = {"driver_host": socket.gethostname(), "driver_pid": os.getpid()}
    ledger.create_run(id=run, name="digits", kind="deployment", spec="", **here)


def serve(ledger: Ledger, url: str) -> None:
    ledger.transition(RUN, "starting")
    ledger.transition(RUN, "running")
    told = {"entry": SERVING, "url": url, "version": "3", "at": 0.0}
    Journal(ledger, ledger.get(RUN)).append(PINNED.entry(), told)


def deployments(*arguments: Any) -> int:
    """The command as the root of the command line runs it."""
    code = DEPLOYMENTS.load().main(
        [*map(str, arguments)], prog_name="forgeline deployments", standalone_mode=False
    )  # fmt: skip
    return code if isinstance(code, int) else 0


def test_none_is_listed_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    assert deployments("list") == 0
    assert "no deployment yet" in capsys.readouterr().out


def test_they_are_listed_with_what_they_serve_and_where(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    serve(ledger, "http://127.0.0.1:8000")
    begin(ledger, "b2c3d4e5f6a7")
    assert deployments("list", "--format", "json") == 0
    newest, first = json.loads(capsys.readouterr().out)
    assert (newest["id"], newest["state"], newest["version"], newest["url"]) == ("b2c3d4e5f6a7", "queued", None, None)
    assert (first["id"], first["model"], first["version"]) == (RUN, "digits", "3")
    assert (first["state"], first["url"]) == ("running", "http://127.0.0.1:8000")
    assert deployments("list", "--limit", 1) == 0
    shown = capsys.readouterr().out
    assert "b2c3" in shown and RUN[:4] not in shown and "training" not in shown


def test_one_is_shown_with_whether_it_answers_now(
    ledger: Ledger, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    local = Local(bundle)
    with serving(local) as (_, port):
        serve(ledger, f"http://127.0.0.1:{port}")
        assert deployments("show", "digits", "--format", "json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["ready"], told["reference"], told["digest"]) == (True, "models:/digits@champion", "d" * 64)
        local.front.draining = True
        assert deployments("show", RUN[:6], "--format", "json") == 0
        assert json.loads(capsys.readouterr().out)["ready"] is False
    assert deployments("show", "digits") == 0
    assert "models:/digits@champion" in capsys.readouterr().out


def test_logs_are_those_of_the_run(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve(ledger, "http://127.0.0.1:8000")
    paths = RunPaths(tmp_path, RUN)
    events = EventLog(paths.events)
    events.emit("state", state="running")
    events.emit("message", level="info", text="serves digits version 3 at http://127.0.0.1:8000")
    log = paths.rank_log(attempt=1, rank=0)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("what a replica wrote\n")
    assert deployments("logs", "digits") == 0
    shown = capsys.readouterr().out
    assert "serves digits version 3" in shown and "what a replica wrote" in shown
    assert deployments("logs", "digits", "--source", "workers") == 0
    assert capsys.readouterr().out.strip().endswith("what a replica wrote")
    ledger.transition(RUN, "cancelled", "cancelled", "stopped as asked")
    events.emit("state", state="cancelled", reason="cancelled", message="stopped as asked")
    events.close()
    assert deployments("logs", "digits", "--follow") == 103
    assert "stopped as asked" in capsys.readouterr().out


def test_a_stop_asks_the_driver_and_waits_for_the_end(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    serve(ledger, "http://127.0.0.1:8000")

    def drive() -> None:
        while not ledger.cancel_requested(RUN):
            time.sleep(0.02)
        ledger.transition(RUN, "cancelled", "cancelled", "stopped as asked")

    driver = threading.Thread(target=drive)
    driver.start()
    assert deployments("stop", "digits") == 0
    driver.join()
    assert capsys.readouterr().out == "digits has stopped\n"
    assert deployments("stop", "digits") == 0
    assert capsys.readouterr().out == "digits is over already: cancelled\n"


def test_a_stop_that_takes_too_long_says_so(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    serve(ledger, "http://127.0.0.1:8000")
    with pytest.raises(NotFinished, match="it was asked to, and may yet"):
        deployments("stop", "digits", "--timeout", 0)
    assert deployments("stop", "digits", "--no-wait") == 0
    assert capsys.readouterr().out == "digits was asked to stop\n"
    assert ledger.cancel_requested(RUN)


@pytest.mark.parametrize("command", ["show", "logs", "stop"])
def test_what_is_no_deployment_is_refused(ledger: Ledger, command: str) -> None:
    with pytest.raises(NotFound, match="no deployment; `forgeline runs show` has it"):
        deployments(command, "training")
    with pytest.raises(NotFound):
        deployments(command, "nothing")
