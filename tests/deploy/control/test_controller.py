"""A controller that Ray starts again when the run has another driver by then."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from forgeline.errors import ForgelineError
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.control.controller import Controller, ControllerOrder


def test_it_decides_nothing_in_the_name_of_another_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path))
    monkeypatch.setenv("FORGELINE_LEDGER_URL", url)
    ledger = Ledger(url)
    owner = ledger.create_run(id="run1", name="wine", kind="deployment", spec="", driver_host="one-host", driver_pid=1)
    ledger.transition("run1", "failed", "node_lost")
    ledger.resume("run1", driver_host="another-host", driver_pid=1)
    controller = Controller(ControllerOrder(owner=owner, spec={}, folder=str(tmp_path)))
    with pytest.raises(ForgelineError, match="nothing more: run run1 has another driver: another-host, process 1"):
        for _ in range(600):
            assert not asyncio.run(controller.ready())
            time.sleep(0.05)
    assert ledger.journal("run1") == []
    ledger.close()
