"""Fits by several processes that a test starts itself, without Ray: they meet as a run's workers do."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.worker import Job


def fit(spec: Mapping[str, Any], home: Path, run_id: str, *, resume_from: Path | None = None, **change: Any) -> Job:
    """Train with as many processes as the spec has workers, from the start or from a copy of a checkpoint."""
    loaded = load(spec, set=change)
    workers = loaded.spec.resources.workers
    job = Job(spec=loaded.text, run_id=run_id, home=str(home), attempt=1, checkpoint=None)
    if resume_from is not None:
        folder = job.paths.checkpoints / resume_from.name
        shutil.copytree(resume_from, folder)
        job = Job(spec=loaded.text, run_id=run_id, home=str(home), attempt=2, checkpoint=str(folder))
    job.paths.attempt(job.attempt).mkdir(parents=True)
    together(_fit, job.to_dict(), workers=workers)
    return job


def logged(job: Job) -> dict[tuple[str, int], float]:
    """(name, step) -> value of what rank 0 wrote of training and validation."""
    lines = SpoolReader(job.paths.spool(attempt=job.attempt, rank=0)).read_new()
    return {
        (name, line["step"]): value
        for line in lines
        if line["kind"] == "metrics"
        for name, value in line["values"].items()
        if not name.startswith(("system/", "train/samples_per_s"))
    }


def checkpoint_at(job: Job, step: int) -> Path:
    """The sealed checkpoint of a step."""
    folder = job.paths.checkpoints / checkpoint.folder_name(step)
    assert checkpoint.verified(folder) is not None
    return folder


def together(work: Callable[..., None], *arguments: Any, workers: int) -> None:
    """Call a function in so many processes that can meet, each with these arguments."""
    told = (workers, _free_port(), work, arguments)
    multiprocessing.start_processes(_work, told, nprocs=workers, start_method="fork")


def _fit(job: Mapping[str, Any]) -> None:
    Fitting(Job(**job)).run()


def _work(rank: int, workers: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        GLOO_SOCKET_IFNAME="lo",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
        WORLD_SIZE=str(workers),
        LOCAL_WORLD_SIZE=str(workers),
    )
    work(*arguments)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
