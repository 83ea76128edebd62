"""Every family for a few steps under DDP with two workers and torch.compile, or why it is not compiled.

That a network trains alone says little about either: DDP waits for every parameter's gradient, and torch.compile traces
what a step really calls. Each spec of the zoo that starts from nothing is a row, and GPT's.
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
# What a spec does in stages must fit into so few steps.
STAGES: Mapping[str, Mapping[str, int]] = {
    "zoo/dalle.yaml": {"architecture.autoencoder_steps": 2},
    "zoo/latent_diffusion.yaml": {"architecture.autoencoder_steps": 2},
    "zoo/progressive_gan.yaml": {"architecture.stage_steps": 1},
}


def rows(say: Callable[[str], None], *, generators: bool) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """A row for each spec, by its name.

    Args:
        generators: those of models that make samples, or those of all others.
    """
    return {
        spec.removeprefix("zoo/").removesuffix(".yaml"): partial(trained, say, spec)
        for spec in specs()
        if ("generation" in _architecture(spec).tasks) == generators
    }


def specs() -> Iterator[str]:
    """Specs below jobs/specs: GPT's, and those of the zoo but for those that need another run's model.

    Those of which modules alone come from another run's model (`fine_tune.parts`) are rows; these start fresh here.
    """
    yield "tinyshakespeare.yaml"
    for path in sorted((SPECS / "zoo").glob("*.yaml")):
        if cast(TrainSpec, load(path).spec).fine_tune.pretrained is None:
            yield f"zoo/{path.name}"


def changes(spec: str) -> dict[str, Any]:
    """What is set for the row of a spec."""
    return {
        "trainer.epochs": None,
        "trainer.steps": STEPS,
        "trainer.validate_every": f"{STEPS}step",
        "trainer.compile": not _why_not_compiled(spec),
        "resources.workers": WORKERS,
        "resources.cpus_per_worker": 1,
        "checkpoint.select": "last",
        "register": None,
        "fine_tune.parts": {},
        **STAGES.get(spec, {}),
    }


def trained(say: Callable[[str], None], spec: str) -> dict[str, Any]:
    """Train one spec for `STEPS` steps on `WORKERS` workers; met when the run succeeds."""
    why_not = _why_not_compiled(spec)
    started = time.perf_counter()
    run = fl.run(SPECS / spec, set=changes(spec))
    seconds = time.perf_counter() - started
    how = f"not compiled, since {why_not}" if why_not else "compiled"
    say(f"{spec}, {how}: {run.state} in {seconds:.0f} s {run.message or ''}")
    return {
        "spec": spec,
        "workers": WORKERS,
        "steps": STEPS,
        "found": f"{run.state}, {how}",
        "seconds": [round(seconds, 1)],
        "met": run.state == "succeeded",
    }


def _why_not_compiled(spec: str) -> str:
    return str(getattr(_architecture(spec), "not_compiled", ""))


def _architecture(spec: str) -> plugins.ArchitectureDescriptor:
    model = cast(TrainSpec, load(SPECS / spec).spec).architecture.name
    return cast(plugins.ArchitectureDescriptor, plugins.find(plugins.ARCHITECTURES, model, key="architecture.name"))
