"""The bars of generators: train with a spec, measure with `evaluate` on the test split, keep a picture for docs/zoo.

A bound must hold for every seed. What is measured without a bound is reported. The figures of a judge are of a
classifier trained on the same data, not of Inception.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import forgeline as fl
from benchmarks.bars import SPECS
from benchmarks.zoo_page import PICTURES
from forgeline.spec.loading import load

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a metric must reach with every seed.

    Attributes:
        at_least: lower bound, or None.
        at_most: upper bound, or None.
        of: another metric of the row, of whose lowest value the bounds are shares; None for bounds as they stand.
    """

    at_least: float | None = None
    at_most: float | None = None
    of: str | None = None

    def settled(self, measured: Mapping[str, Sequence[float]]) -> Bound:
        """The bound in the metric's own unit, once the other metric is known."""
        if self.of is None:
            return self
        lowest = min(measured[self.of])
        low, high = (None if share is None else share * lowest for share in (self.at_least, self.at_most))
        return Bound(at_least=low, at_most=high)

    def holds(self, values: Sequence[float]) -> bool:
        """Whether all values are within."""
        low, high = self.at_least, self.at_most
        return all((low is None or value >= low) and (high is None or value <= high) for value in values)


@dataclass(frozen=True, kw_only=True)
class GeneratorBar:
    """A row of a generator.

    Attributes:
        name: row of the table, and of the result file.
        spec: file under jobs/specs.
        metrics: what is reported of the test split.
        bounds: metric -> bound; they may speak of `metrics` only.
        change: keys of the spec that are replaced.
        seeds: of the trainings.
        evaluation: further keys of the `evaluate` spec, such as `untrained`.
        again: name -> options of the family by which the same model is measured once more; the metrics' names get the
            name before them.
        picture: stem of the report's picture that is kept.
        after: specs that are run before, whose registered models this one starts from.
    """

    name: str
    spec: str
    metrics: Sequence[str]
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    change: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    again: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    picture: str = "samples"
    after: Sequence[str] = ()


def measure(bar: GeneratorBar, say: Say) -> dict[str, Any]:
    """Train and evaluate with each seed; the row for the result file."""
    for spec in bar.after:
        _registered(spec)
    measured: dict[str, list[float]] = {}
    seconds: list[float] = []
    for seed in bar.seeds:
        started = time.perf_counter()
        run = fl.run(SPECS / bar.spec, set={**bar.change, "trainer.seed": seed})
        seconds.append(time.perf_counter() - started)
        if run.state != "succeeded":
            raise RuntimeError(f"{bar.name}, trainer.seed={seed}: {run.state}, {run.message}")
        found = _evaluated(bar, run, picture=not measured and not bar.change)
        for name, value in found.items():
            measured.setdefault(name, []).append(value)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        say(f"{bar.name}: trainer.seed={seed} {shown} in {seconds[-1]:.0f} s")
    bounds = {name: bound.settled(measured) for name, bound in bar.bounds.items()}
    return {
        "name": bar.name,
        "spec": bar.spec,
        "varied": "trainer.seed",
        "values": list(bar.seeds),
        "changed": dict(bar.change),
        "measured": measured,
        "asked": {name: {"at_least": bound.at_least, "at_most": bound.at_most} for name, bound in bounds.items()},
        "seconds": [round(second, 1) for second in seconds],
        "met": all(bound.holds(measured[name]) for name, bound in bounds.items()),
    }


@cache
def _registered(spec: str) -> None:
    """Train what other rows start from, once."""
    run = fl.run(SPECS / spec)
    if run.state != "succeeded":
        raise RuntimeError(f"{spec}: {run.state}, {run.message}")


def _evaluated(bar: GeneratorBar, run: fl.Run, *, picture: bool) -> dict[str, float]:
    """The metrics of a model, and those of its samples drawn otherwise."""
    folder, metrics = evaluate(f"runs:/{run.id}", bar.evaluation)
    if picture:
        keep_picture(folder, bar.spec, bar.picture)
    found = {name: metrics[name] for name in bar.metrics}
    for prefix, options in bar.again.items():
        _, metrics = evaluate(f"runs:/{run.id}", {"options": dict(options)})
        found |= {f"{prefix} {name}": metrics[name] for name in bar.metrics if name != "judge_own_accuracy"}
    return found


def evaluate(model: str, settings: Mapping[str, Any]) -> tuple[Path, dict[str, float]]:
    """The folder of the report, and the metrics of the test split by their bare names, of a run or a bundle."""
    measured = fl.run(load({"kind": "evaluate", "name": "bar", "model": model, **settings}))
    if measured.state != "succeeded":
        raise RuntimeError(f"evaluate of {model}: {measured.state}, {measured.message}")
    return measured.artifacts, {name.removeprefix("test/"): value for name, value in measured.metrics.items()}


def keep_picture(folder: Path, spec: str, shown: str = "samples") -> None:
    """Put a report's pictures where docs/zoo.md shows them: one under the name of the spec, the others after it."""
    PICTURES.mkdir(exist_ok=True)
    for picture in folder.glob("*.png"):
        suffix = "" if picture.stem == shown else f".{picture.stem}"
        shutil.copyfile(picture, PICTURES / f"{Path(spec).stem}{suffix}.png")
