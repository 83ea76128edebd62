"""`forgeline runs` on runs that are written into the ledger by hand: nothing is started."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.cli.app import main
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths

RUN = "0123456789abcdef"


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(id=RUN, name="digits", kind="toy", spec="kind: toy\nname: digits\npassword: hunter2\n")
    ledger.transition(RUN, "starting")
    ledger.start_attempt(RUN, "first")
    ledger.transition(RUN, "running")
    yield ledger
    ledger.close()


def test_following_shows_the_last_line_even_without_its_end(
    ledger: Ledger, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = RunPaths(home, RUN).rank_log(attempt=1, rank=0)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"step 1\nhalf a line, gr" + "ö".encode()[:1])

    def end() -> None:
        time.sleep(0.5)
        with log.open("ab") as file:
            file.write("ö".encode()[1:] + "ße: killed".encode())
        ledger.transition(RUN, "failed", "user_error", "killed")

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(SystemExit) as caught:
        main(["runs", "logs", "-f", RUN])
    ending.join()
    assert caught.value.code == 100
    assert capfd.readouterr().out == "step 1\nhalf a line, größe: killed"


def test_comparing_shows_no_secrets(ledger: Ledger, forgeline: Any) -> None:
    ledger.create_run(id="another", name="digits", kind="toy", spec="kind: toy\nname: digits\npassword: hunter3\n")
    done = forgeline("runs", "compare", RUN, "another")
    assert done.returncode == 0, done.stderr
    assert "hunter" not in done.stdout
