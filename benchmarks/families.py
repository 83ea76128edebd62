"""Every spec of the zoo for a few steps under DDP with two workers and torch.compile, or why a family is not compiled.

That a network trains alone says little about either: DDP waits for every parameter's gradient, and torch.compile traces
what a step really calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import forgeline as fl
from benchmarks.bars import SPECS
from forgeline import plugins
from forgeline.spec.loading import load
from forgeline_jobs.train.spec import TrainSpec

STEPS = 4
WORKERS = 2


def rows(say: Callable[[str], None]) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """A row for each spec of the zoo that starts from nothing."""
    return {name: partial(trained, say, name) for name in names()}


def names() -> Iterator[str]:
    """Specs under jobs/specs/zoo by name, but those that need another run's model."""
    for path in sorted((SPECS / "zoo").glob("*.yaml")):
        if "fine_tune" not in path.read_text(encoding="utf-8"):
            yield path.stem


def trained(say: Callable[[str], None], name: str) -> dict[str, Any]:
    """Train one spec for `STEPS` steps on `WORKERS` workers; met when the run succeeds."""
    path = SPECS / "zoo" / f"{name}.yaml"
    architecture = plugins.find(
        plugins.ARCHITECTURES, cast(TrainSpec, load(path).spec).architecture.name, key="architecture.name"
    )
    why_not = str(getattr(architecture, "not_compiled", ""))
    change = {
        "trainer.epochs": None,
        "trainer.steps": STEPS,
        "trainer.validate_every": f"{STEPS}step",
        "trainer.compile": not why_not,
        "resources.workers": WORKERS,
        "resources.cpus_per_worker": 1,
        "checkpoint.select": "last",
        "register": None,
    }
    started = time.perf_counter()
    run = fl.run(path, set=change)
    seconds = time.perf_counter() - started
    how = f"not compiled, since {why_not}" if why_not else "compiled"
    say(f"{name}, {how}: {run.state} in {seconds:.0f} s {run.message or ''}")
    return {
        "spec": f"zoo/{name}.yaml",
        "workers": WORKERS,
        "steps": STEPS,
        "found": f"{run.state}, {how}",
        "seconds": [round(seconds, 1)],
        "met": run.state == "succeeded",
    }
