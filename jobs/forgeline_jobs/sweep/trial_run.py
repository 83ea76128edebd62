"""A trial as a Tune trainable: an actor that drives the trial's run, as `forgeline run` would, in the sweep's Ray.

- The run is one like any other: with a record, attempts by cause, checkpoints, series in MLflow below the sweep's run.
- The actor holds no CPU; the workers do, all of a trial's or none (Ray Train asks for them as one placement group).
- Each call of `step` gives one measurement. Training does not wait for what is made of it.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ray import tune

from forgeline.errors import ForgelineError
from forgeline.launching.events import Event, EventLog, EventReader
from forgeline.launching.execution import Execution
from forgeline.launching.follow import follow
from forgeline.launching.held_ray import HeldRay
from forgeline.launching.request import EVENTS, Request
from forgeline.launching.stopping import Cause, StopControl
from forgeline.ledger.ledger import Ledger
from forgeline.paths import RunPaths
from forgeline.settings import Settings, settings
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train import heartbeat
from forgeline_jobs.train.kept_worker import KeptWorker, keeping
from forgeline_jobs.train.watch import end_workers

HEED_EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the actor of a trial is told; it travels as plain JSON values.

    Attributes:
        trial: its number.
        spec: of its run, as YAML.
        sweep: the run that it is a part of.
        resume: its run, where it has one already.
        cluster: address of the cluster; None for local Ray.
        unit: what its measurements are counted in.
        until: length of training after which it pauses; None for its end.
        halted: file that exists once the whole sweep stops.
        pruned: file that exists once this trial is to stop, since others do better.
    """

    trial: int
    spec: str
    sweep: str
    resume: str | None
    cluster: str | None
    unit: Literal["ep", "step"]
    until: str | None
    halted: str
    pruned: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class TrialRun(tune.Trainable):
    """The actor. Between two trials it keeps its imports, and a worker of one (see `kept_worker`)."""

    def setup(self, config: dict[str, Any]) -> None:
        self._stack = ExitStack()
        self._kept = self._stack.enter_context(keeping())
        self._driven: DrivenRun | None = None
        self._set(config)

    def step(self) -> dict[str, Any]:
        if self._driven is None:
            # Not before it is asked for: Tune makes actors for trials that it then gives to others.
            self._driven = DrivenRun(self._order, settings(), self._kept)
            self._told = self._driven.told()
        told = next(self._told)
        # Tune flattens mappings in some places, and not in others.
        return {"told": json.dumps(told), "done": told["done"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the run has checkpoints of its own."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._stop()
        self._set(new_config)
        return True

    def cleanup(self) -> None:
        self._stop()
        self._stack.close()

    def _set(self, config: dict[str, Any]) -> None:
        self._order = Order(**config["order"])

    def _stop(self) -> None:
        if self._driven is not None:
            self._driven.stop()
        self._driven = None


class DrivenRun:
    """The run of one trial, driven by a thread of this process.

    Args:
        order: what the trial is.
        environment: of this installation.
        kept: the worker that it may use.
    """

    def __init__(self, order: Order, environment: Settings, kept: KeptWorker) -> None:
        self._order = order
        self._settings = environment
        self._control = StopControl(grace_s=environment.cancel_grace_s)
        token = secrets.token_hex(16)
        self._request = Request(
            spec=order.spec,
            token=token,
            resume=order.resume,
            cluster=order.cluster,
            parent=order.sweep,
            until=order.until,
        )
        self._log = EventLog(environment.home_folder / "launching" / token / EVENTS)
        self._reader = EventReader(self._log.path)
        self._kept = kept
        self._run_id = order.resume
        self._ray = HeldRay(self._end_workers)
        self._thread = threading.Thread(target=self._drive, name=f"trial-{order.trial}", daemon=True)
        self._thread.start()
        # Tune tells an actor nothing while it waits for a measurement, which an epoch may take hours to give.
        threading.Thread(target=self._heed, name=f"heed-{order.trial}", daemon=True).start()

    def told(self) -> Iterator[dict[str, Any]]:
        """Each measurement as `step` and `metrics`, then how the run ended, with `done`."""
        common = {"trial": self._order.trial, "done": False}
        if self._order.resume is not None:
            for event in earlier(RunPaths(self._settings.home_folder, self._order.resume)):
                yield {**common, **self._measured(event)}
        last: Event = {}
        for event in follow(self._reader, alive=self._thread.is_alive, on_death=self._died):
            last = event
            if event["event"] == "run":
                self._run_id = event["run_id"]
            if event["event"] == "epoch":
                yield {**common, **self._measured(event)}
        self._thread.join()
        yield {**common, "done": True, **self._ended(last)}

    def stop(self) -> None:
        """Ask the run to stop, where it goes on, and wait until it has."""
        self._control.request(self._asked() or "pruned")
        self._thread.join()

    def _heed(self) -> None:
        """Pass on what the sweep's driver leaves in files."""
        while self._thread.is_alive():
            cause = self._asked()
            if cause is not None:
                self._control.request(cause)
                return
            time.sleep(HEED_EVERY_S)

    def _asked(self) -> Cause | None:
        if Path(self._order.halted).exists():
            return "cancelled"
        return "pruned" if Path(self._order.pruned).exists() else None

    def _drive(self) -> None:
        try:
            Execution(self._request, self._settings, self._log, self._control, held=self._ray).run()
        except Exception as error:
            traceback.print_exc()
            text = str(error) if isinstance(error, ForgelineError) else f"{type(error).__name__}: {error}"
            self._log.emit("error", message=text, exit_code=1)

    def _measured(self, event: Event) -> dict[str, Any]:
        return {"step": measured_at(event, self._order.unit), "metrics": numbers(event["metrics"])}

    def _ended(self, last: Event) -> dict[str, Any]:
        if self._run_id is None or last.get("event") == "error":
            # There is no run, or the one there is could not be gone on with: its record tells of before.
            return {"state": "failed", "reason": "platform_error", "message": str(last.get("message")), "metrics": {}}
        record = Ledger(self._settings.resolved_ledger_url).get(self._run_id)
        return {
            "state": str(record.state),
            "reason": None if record.reason is None else str(record.reason),
            "message": record.message or "",
            "metrics": dict(record.metrics),
        }

    def _end_workers(self) -> None:
        """What hangs does not hear that it should stop, and would keep its place from the next trial."""
        self._kept.end()
        if self._run_id is None:
            return
        folders = RunPaths(self._settings.home_folder, self._run_id).root.glob("attempts/*")
        newest = max(folders, key=lambda folder: int(folder.name), default=None)
        if newest is not None:
            end_workers(heartbeat.read_all(newest))

    def _died(self) -> Event:
        return {"event": "error", "message": "the trial's driver ended without a word", "exit_code": 1}


def earlier(paths: RunPaths) -> Iterator[Event]:
    """The measurements of a run's earlier attempts, in the order of their steps; of those done again, the last."""
    found: dict[int, Event] = {}
    for spool in sorted(paths.root.glob("attempts/*/spool-0.jsonl"), key=lambda path: int(path.parent.name)):
        for line in SpoolReader(spool).read_new():
            if line.get("kind") == "event" and line.get("event") == "epoch":
                found[line["step"]] = line
    yield from (found[step] for step in sorted(found))


def measured_at(event: Event, unit: str) -> int:
    """The epoch, or the optimizer step, that a measurement is of."""
    return int(event["epoch"] if unit == "ep" else event["step"])


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The event log's JSON has no NaN and no infinity and writes them as text."""
    return {name: float(value) for name, value in metrics.items()}
