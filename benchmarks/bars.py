"""The bars on test data of the shipped specs: train with the spec's defaults, measure once with `evaluate`.

Checkpoint and settings are chosen on the validation split; the test split is read by `evaluate` alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import forgeline as fl
from benchmarks import results_file
from forgeline.spec.loading import load

if TYPE_CHECKING:
    from forgeline_jobs.data.base import Batch, SplitName
    from forgeline_jobs.train.spec import TrainSpec

SPECS = Path(__file__).parents[1] / "jobs" / "specs"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One promise on test data.

    Attributes:
        name: row of the table, and of the result file.
        spec: file under jobs/specs.
        metric: metric on the test split.
        key: spec key that is varied.
        values: its values; the bar is on the mean of the metric over them.
        at_least: lower bound of the mean, or None.
        at_most: upper bound of the mean, or None.
        limit_s: longest time that one training may take, or None.
        reference: computes the bound that depends on the data, from the spec, for each value.
        reference_is: which bound the mean of the references is.
    """

    name: str
    spec: str
    metric: str
    key: str = "trainer.seed"
    values: Sequence[Any] = (0, 1, 2)
    at_least: float | None = None
    at_most: float | None = None
    limit_s: float | None = None
    reference: Callable[[Path, dict[str, Any]], float] | None = None
    reference_is: Literal["at_least", "at_most"] = "at_least"
    margin: float = 0.0


def whole_splits(spec: Path, change: dict[str, Any], *names: SplitName) -> list[Batch]:
    """Splits of the data of a spec with a change, as a model gets them, each in one batch."""
    from forgeline_jobs.data.base import as_int64
    from forgeline_jobs.train.preparation import prepare

    settings = cast("TrainSpec", fl.load(spec, set=change).spec)
    splits = prepare(settings.data).splits
    return [splits[name].batch(as_int64(range(len(splits[name])))) for name in names]


def least_squares(spec: Path, change: dict[str, Any]) -> float:
    """R2 on the test split of ordinary least squares fitted to the train split of the same data."""
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score

    train, test = whole_splits(spec, change, "train", "test")
    model = LinearRegression().fit(train["numeric"], train["target"])
    return float(r2_score(test["target"], model.predict(test["numeric"])))


BARS = (
    Bar(name="mnist5k ResNet-18", spec="digits.yaml", metric="accuracy", at_least=0.970, limit_s=300),
    Bar(
        name="breast-cancer MLP",
        spec="breast-cancer.yaml",
        metric="roc_auc",
        key="data.split.seed",
        values=range(10),
        at_least=0.99,
    ),
    Bar(
        name="diabetes MLP",
        spec="diabetes.yaml",
        metric="r2",
        key="data.split.seed",
        values=range(10),
        reference=least_squares,
        margin=-0.02,
    ),
    Bar(name="mnist1d recurrent", spec="mnist1d.yaml", metric="accuracy", at_least=0.85),
    Bar(name="sunspots LSTM", spec="sunspots.yaml", metric="mase", at_most=1.0),
    Bar(name="tinyshakespeare GPT", spec="tinyshakespeare.yaml", metric="loss", values=(0,), at_most=1.92),
)


@dataclass
class Measured:
    """What a bar came to so far; kept value by value, so that an interrupted measurement can be taken up again.

    `sources` has a digest of the code for each value, since it may change under a measurement that goes on.
    """

    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, bar: Bar) -> Measured:
        """What was measured of the bar with the spec and the code as they are now."""
        kept = results_file.read(_unfinished(bar)).get("rows", {})
        if kept.get("spec") != (SPECS / bar.spec).read_text("utf-8"):
            return cls()
        found = cls(**kept["found"])
        return found if found.sources == [results_file.source_digest()] * len(found.scores) else cls()

    def keep(self, bar: Bar) -> None:
        """Write it down for the next time."""
        rows = {"spec": (SPECS / bar.spec).read_text("utf-8"), "found": asdict(self)}
        results_file.write(_unfinished(bar), rows)


def _unfinished(bar: Bar) -> str:
    return f"unfinished-{Path(bar.spec).stem}-{bar.metric}"


def measure(bar: Bar, say: Callable[[str], None]) -> dict[str, Any]:
    """Train and evaluate for each value; the row for the result file."""
    found = Measured.of(bar)
    for value in bar.values[len(found.scores) :]:
        change = {bar.key: value}
        found.sources.append(results_file.source_digest())
        started = time.perf_counter()
        run = fl.run(SPECS / bar.spec, set=change)
        found.seconds.append(time.perf_counter() - started)
        if run.state != "succeeded":
            raise RuntimeError(f"{bar.name}, {bar.key}={value}: {run.state}, {run.message}")
        found.scores.append(evaluate(run, bar.metric))
        if bar.reference is not None:
            found.references.append(bar.reference(SPECS / bar.spec, change))
        say(f"{bar.name}: {bar.key}={value} test/{bar.metric} {found.scores[-1]:.4f} in {found.seconds[-1]:.0f} s")
        found.keep(bar)
    results_file.remove(_unfinished(bar))
    return _row(bar, found)


def evaluate(run: fl.Run, metric: str) -> float:
    """The metric on the test split, by the kind `evaluate`."""
    measured = fl.run(load({"kind": "evaluate", "name": "bar", "model": f"runs:/{run.id}"}))
    if measured.state != "succeeded":
        raise RuntimeError(f"evaluate of {run.id}: {measured.state}, {measured.message}")
    return measured.metrics[f"test/{metric}"]


def _row(bar: Bar, found: Measured) -> dict[str, Any]:
    mean = statistics.fmean(found.scores)
    bounds = {"at_least": bar.at_least, "at_most": bar.at_most}
    if found.references:
        bounds[bar.reference_is] = statistics.fmean(found.references) + bar.margin
    at_least, at_most = bounds["at_least"], bounds["at_most"]
    met = (at_least is None or mean >= at_least) and (at_most is None or mean <= at_most)
    in_time = bar.limit_s is None or max(found.seconds) <= bar.limit_s
    return {
        "name": bar.name,
        "spec": bar.spec,
        "metric": f"test/{bar.metric}",
        "varied": bar.key,
        "values": list(bar.values),
        "scores": found.scores,
        "mean": mean,
        "at_least": at_least,
        "at_most": at_most,
        "seconds": [round(second, 1) for second in found.seconds],
        "limit_s": bar.limit_s,
        "references": found.references,
        "sources": list(dict.fromkeys(found.sources)),
        "met": met and in_time,
    }
