"""The process that owns a run, from the MLflow run's creation to the final state.

    python -m forgeline.launching.driver --request FILE|-|env

- The main thread supervises: it starts Ray (whose daemons are tied to the thread that started them), takes signals,
  keeps the deadline and looks for cancel requests; the kind runs in a thread of its own, so that none of this waits.
- Ray starts while another thread imports MLflow, creates the run there and writes the ledger row.
- It imports no torch: the time from the command to the first step is spent in the workers.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forgeline.errors import ForgelineError
from forgeline.launching.events import EventLog
from forgeline.launching.execution import Execution
from forgeline.launching.local_ray import ENVIRONMENT
from forgeline.launching.request import EVENTS, LOG, VARIABLE, Request
from forgeline.launching.stopping import StopControl
from forgeline.settings import settings
from forgeline.tracking.tracker import silence_mlflow

_EARLY_IMPORTS = (
    "ray",
    "ray.dashboard.optional_deps",
    "mlflow",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "ray.train.v2.api.data_parallel_trainer",
)


def main(arguments: list[str] | None = None) -> int:
    """Own one run; the exit code is the run's."""
    parser = argparse.ArgumentParser(prog="python -m forgeline.launching.driver", description=__doc__)
    parser.add_argument("--request", required=True, help="file with the request, `-` for standard input, or `env`")
    source = parser.parse_args(arguments).request
    request = _read_request(source, while_waiting=_import_early)
    if request is None:
        return 0
    environment = settings()
    stop = StopControl(grace_s=environment.cancel_grace_s)
    stop.listen()
    events = _open_events(request, environment.home_folder)
    try:
        return Execution(request, environment, events, stop).run()
    except Exception as error:
        traceback.print_exc()
        code = error.exit_code if isinstance(error, ForgelineError) else 1
        text = str(error) if isinstance(error, ForgelineError) else f"{type(error).__name__}: {error}"
        events.emit("error", message=text, exit_code=code)
        return code


def _read_request(source: str, *, while_waiting: Callable[[], None]) -> Request | None:
    if source == "env":
        return Request.from_json(os.environ.pop(VARIABLE, ""))
    if source != "-":
        return Request.from_json(Path(source).read_text(encoding="utf-8"))
    # Two threads that import it at a time were seen to meet a half of it: its modules import each other in a circle.
    importlib.import_module("sqlalchemy.orm")
    early = threading.Thread(target=while_waiting, daemon=True)
    early.start()
    line = sys.stdin.readline()
    # An empty input means that the specification was refused, or that whoever would have asked is gone.
    return Request.from_json(line) if line.strip() else None


def _import_early() -> None:
    # A driver that waits for its work is a local one; Ray reads these when it is imported.
    os.environ.update(ENVIRONMENT)
    silence_mlflow()
    for name in _EARLY_IMPORTS:
        importlib.import_module(name)


def _open_events(request: Request, home: Path) -> EventLog:
    """The event log in a staging folder, where a local driver's output goes as well; a Ray job's is kept by Ray."""
    if request.staging is None:
        # What the job prints is read by whoever submitted it: the events go there too, behind their marker.
        return EventLog(home / "launching" / request.token / EVENTS, echo=sys.stdout)
    descriptor = os.open(Path(request.staging, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    return EventLog(Path(request.staging, EVENTS))


def _end(code: Any) -> None:
    """Leave at once: everything is closed by now, and a kind's stuck thread must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))


if __name__ == "__main__":
    _end(main())
