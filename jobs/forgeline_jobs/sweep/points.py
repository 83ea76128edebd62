"""From a point of the space to the train spec of its trial, and the check of the points where it may be refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from forgeline import metrics
from forgeline.errors import SpecError
from forgeline.spec.loading import LoadedSpec, load
from forgeline_jobs.sweep.constraints import Constraint, broken_by
from forgeline_jobs.sweep.space import Values, all_keys, corners
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.trials import Course
from forgeline_jobs.train.changes import of_course
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import TrainSpec

CORNERS = 64
"""Points that are checked at most; a space has more only with many long choices."""


def train_spec(spec: SweepSpec, values: Mapping[str, Any], *, name: str) -> LoadedSpec:
    """The train spec at a point. It registers no model: a sweep's best one is chosen, not every trial's.

    Raises:
        SpecError: it is refused there; the key is one of the space's where its value is at fault.
    """
    base = {"kind": "train", **spec.train, "name": name, "priority": spec.priority, "labels": dict(spec.labels)}
    base.pop("register", None)
    try:
        return load(base, values)
    except SpecError as error:
        raise _at(error, values) from error


def best_spec(spec: SweepSpec, course: Course) -> LoadedSpec:
    """The train spec of a trial as a job of its own, with the name of the sweep's best.

    Args:
        course: what the trial was trained with.
    """
    loaded = train_spec(spec, course[0][1], name=f"{spec.name[:58]}-best")
    made = of_course(course, spec.unit)
    return load(loaded.text, {"changes": made}) if made else loaded


def checked(spec: SweepSpec) -> list[LoadedSpec]:
    """The train specs at the corners of the space, of those that satisfy the constraints.

    Raises:
        SpecError: one is refused.
    """
    constraints = [Constraint(text) for text in spec.constraints]
    found: list[LoadedSpec] = []
    names = {key for key, _ in all_keys(spec.space)} | set(flat(spec.train))
    for at, constraint in enumerate(constraints):
        try:
            constraint.check_keys(names)
        except ValueError as error:
            raise SpecError(str(error), key=f"constraints.{at}") from error
    known = known_values(spec)
    why_not = ""
    for values in _distinct(spec):
        try:
            holds = all(constraint.holds(known | values) for constraint in constraints)
        except ValueError as error:  # such as a division by what is 0 at this corner
            holds, why_not = False, f" ({error})"
        if holds:
            found.append(train_spec(spec, values, name=spec.name))
    if not found:
        told = "; ".join(spec.constraints)
        raise SpecError(f"no corner of the space satisfies {told}{why_not}", key="constraints")
    for at, point in enumerate(spec.search.first):
        broken = next((each for each in constraints if broken_by(each, known | point)), None)
        if broken is not None:
            raise SpecError(f"the point breaks {broken.text!r}", key=f"search.first.{at}")
    return found


def known_values(spec: SweepSpec) -> Values:
    """What constraints may name beside the space's keys: those of the train spec."""
    return flat(spec.train)


def metrics_named(spec: SweepSpec) -> list[tuple[str, str]]:
    """Key and metric of each objective and requirement."""
    one = len(spec.objectives) == 1
    objectives = [
        ("objective.metric" if one else f"objective.{at}.metric", objective.metric)
        for at, objective in enumerate(spec.objectives)
    ]
    return objectives + [(f"require.{at}.metric", required.metric) for at, required in enumerate(spec.require)]


def directions(spec: SweepSpec, task: str) -> Sequence[bool]:
    """Of each objective, whether more is better.

    Raises:
        SpecError: training does not measure it.
    """
    found = []
    for at, objective in enumerate(spec.objectives):
        key = "objective.metric" if len(spec.objectives) == 1 else f"objective.{at}.metric"
        info = measured(task, objective.metric, key=key)
        found.append(info.higher_is_better if objective.mode is None else objective.mode == "max")
    return found


def check_retraining(trained: TrainSpec) -> None:
    """That the train and validation splits can be trained on together.

    Raises:
        SpecError: they cannot.
    """
    try:
        prepare(trained.data.model_copy(update={"train_on": "train+val"}), verify=False)
    except SpecError as error:
        raise SpecError(error.message, key="register.retrain") from error


def measured(task: str, metric: str, *, key: str) -> metrics.MetricInfo:
    """A metric of the task that training measures on the validation split.

    Raises:
        SpecError: it is none.
    """
    info = metrics.metric_info(task, metric, key=key)
    if not metric.startswith("val/") or not info.in_training:
        raise SpecError(f"got {metric!r}; trials are compared by what training measures: val/NAME", key=key)
    return info


def check_intervals(spec: SweepSpec, trained: TrainSpec) -> None:
    """That trials measure themselves, and write a checkpoint, where the population is looked at.

    Raises:
        SpecError: they do not, or end before.
    """
    interval, every, whole = spec.search.interval, trained.trainer.validate_every, trained.length
    if interval.unit != whole.unit or interval.unit != every.unit:
        raise SpecError(
            f"got {interval}; trials train for {whole} and are validated every {every}: give all three in epochs, or "
            "in steps",
            key="search.interval",
        )
    if interval.value % every.value:
        raise SpecError(
            f"got {interval}; trials are validated every {every}: make it a multiple of train.trainer.validate_every",
            key="search.interval",
        )
    if interval.value >= whole.value:
        raise SpecError(
            f"got {interval}; trials train for {whole}, and the population is looked at before they end: make it "
            "shorter, or train longer",
            key="search.interval",
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> Values:
    """Leaves by dotted key."""
    leaves: Values = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        leaves |= flat(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return leaves


def trained(loaded: LoadedSpec) -> TrainSpec:
    """The spec itself."""
    return cast(TrainSpec, loaded.spec)


def _distinct(spec: SweepSpec) -> list[Values]:
    found: list[Values] = []
    for values in corners(spec.space):
        if values not in found and len(found) < CORNERS:
            found.append(values)
    return found


def _at(error: SpecError, values: Mapping[str, Any]) -> SpecError:
    """The error with the key that the sweep's file has."""
    key = error.key or ""
    # A wrong key may be above the space's own: `optimizer.lrr` is told as `optimizer.lrr`, `architecture` as a block.
    own = next((each for each in values if each == key or each.startswith(f"{key}.") or key.startswith(f"{each}.")), "")
    if key in values or (own and key):
        shown = ", ".join(f"{each} {value!r}" for each, value in values.items())
        return SpecError(f"{error.message} (at {shown})", key=f"space.{own}")
    return SpecError(error.message, key=f"train.{key}" if key else "train", others=error.others)
