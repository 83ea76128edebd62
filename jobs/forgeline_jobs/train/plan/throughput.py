"""How fast a job has trained before: from earlier runs of the same architecture, or from what the zoo took."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from forgeline import plugins
from forgeline.errors import ForgelineError
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.sql_reading import sqlite_file
from forgeline.settings import Settings
from forgeline.spec.source import read_document
from forgeline.tracking.tracker import Tracker
from forgeline_jobs.train.plan.estimate import Rate
from forgeline_jobs.train.spec import TrainSpec

LOOKED_AT = 100
"""Earlier runs that are looked at, newest first."""
FEWEST_POINTS = 4
RATE = "train/samples_per_s"


def earlier_rate(spec: TrainSpec, settings: Settings) -> Rate | None:
    """The median throughput of the newest run that trained the same, for as many workers as the spec has.

    The same are architecture, data source, precision and kind of device. Workers are taken to scale linearly.

    Returns:
        None where there is no such run, or the stores do not answer.
    """
    file = sqlite_file(settings.resolved_ledger_url)
    if file is not None and not file.exists():
        return None  # opening it would write it
    wanted = _fingerprint(spec.resolved())
    try:
        ledger = Ledger(settings.resolved_ledger_url)
        tracker = Tracker(settings.resolved_tracking_uri, settings.artifact_root)
        for record in ledger.list_runs(kind=spec.kind, parts=True, limit=LOOKED_AT):
            stored = read_document(record.spec).data
            if _fingerprint(stored) != wanted:
                continue
            points = [point.value for point in tracker.metric_history(record.id, RATE)]
            if len(points) < FEWEST_POINTS:
                continue
            # The first steps load, compile and warm up.
            rate = statistics.median(points[len(points) // 4 :])
            workers = stored["resources"]["workers"]
            if not isinstance(workers, int):  # a range: its rate is of several numbers of workers
                continue
            source = f"run {record.id[:8]} ({record.name})" + (
                f" on {workers} workers, taken to scale linearly" if workers != spec.workers else ""
            )
            return Rate(samples_per_s=rate / workers * spec.workers, source=source)
    except (ForgelineError, KeyError, TypeError):  # stores that are away, a record of another version
        return None
    return None


def _fingerprint(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides how fast a worker is."""
    return (
        spec["architecture"],
        spec["data"]["name"],
        spec["trainer"]["precision"],
        spec["trainer"]["compile"],
        float(spec["resources"]["gpus_per_worker"]) > 0,
    )


def measured_rate(spec: TrainSpec, *, task: str, parameters: int) -> Rate | None:
    """What a core was measured at for the same model of the zoo; None for a GPU, or where there is none.

    Args:
        spec: of the run.
        task: that it learns.
        parameters: of the model, which tell its configuration.
    """
    if spec.resources.gpus_per_worker:
        return None
    family: Any = plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name")
    for row in family.measurements():
        if (row.model, row.task, row.parameters) == (spec.architecture.name, task, parameters) and row.samples_per_s:
            cores = spec.workers * spec.resources.cpus_per_worker
            return Rate(
                samples_per_s=row.samples_per_s * cores,
                source=f"{row.samples_per_s:g} samples/s a core measured for {row.spec}, taken to scale linearly",
            )
    return None
