"""The spec of `kind: sweep`; nothing here needs torch, Ray or Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forgeline.registry.conditions import splits_of
from forgeline.spec.envelope import Envelope, Resources
from forgeline.spec.units import Length, TimeSpan
from forgeline_jobs.sweep.constraints import Constraint
from forgeline_jobs.sweep.requirements import Requirement
from forgeline_jobs.sweep.space import Dimension, all_keys, check_apart, draws
from forgeline_jobs.train.changes import CHANGEABLE
from forgeline_jobs.train.spec import RegisterConfig

Algorithm = Literal["tpe", "random", "quasi_random", "gp", "cmaes", "bohb", "nsga2", "grid", "pbt", "pb2"]
POPULATION = ("pbt", "pb2")
"""Algorithms whose trials train side by side, the worst going on with the weights of the best, and other values."""

SEVERAL = ("tpe", "nsga2", "random", "quasi_random", "grid", "gp")
"""Algorithms that can have several objectives."""

MOST_AT_ONCE = 64

TRAIN_ON = "data.train_on"


class Part(BaseModel):
    """A block of the spec: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SearchConfig(Part):
    """How points of the space are chosen."""

    algorithm: Algorithm = Field(
        default="tpe",
        description="`tpe`, `gp` (Gaussian process), `cmaes`, `bohb` (TPE over all keys at once, with Hyperband), "
        "`nsga2`, `random`, `quasi_random` (Sobol), `grid`, or `pbt` and `pb2`, where trials copy each other.",
    )
    trials: int = Field(default=20, ge=1, le=100_000, description="Trials that are run; may be raised when resumed.")
    concurrent: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto", description="Trials that run at once; `auto`: as many as there is room for."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the suggestions.")
    first: list[dict[str, Any]] = Field(
        default=[], description="Points that are tried first: `key: value` mappings; keys left out are suggested."
    )
    warm_start: str | None = Field(
        default=None, description="An earlier sweep over the same keys, by name or id, whose trials are learnt from."
    )
    points: int = Field(default=5, ge=1, description="Of a grid: points along a range of numbers.")
    interval: Length = Field(
        default=Length(1, "ep"), description="Of a population: training between two looks at it, `2ep` or `100step`."
    )
    quantile: float = Field(
        default=0.25,
        gt=0,
        le=0.5,
        description="Of a population: share of it that copies a trial of the best such share.",
    )
    again: list[Annotated[int, Field(ge=0)]] = Field(
        default=[],
        description="When resumed: numbers of trials that failed, or were stopped, and are gone on with to their end.",
    )


class Objective(Part):
    """What is to become large or small."""

    metric: str = Field(description="A metric that training measures, such as `val/accuracy`.")
    mode: Literal["min", "max"] | None = Field(
        default=None, description="Which way is better; the metric's own way without it."
    )


class StopConfig(Part):
    """When a trial that does badly is stopped early."""

    scheduler: Literal["none", "asha", "hyperband", "median"] = Field(
        default="none", description="`asha` (successive halving), `hyperband`, `median` or `none`."
    )
    grace: Length = Field(
        default=Length(1, "ep"), description="Training that every trial gets: `2ep` or `100step`; the first rung."
    )
    reduction: int = Field(default=3, ge=2, description="One in so many goes on past a rung; of asha and hyperband.")

    @field_validator("scheduler", mode="before")
    @classmethod
    def _no_population(cls, scheduler: Any) -> Any:
        """In Ray Tune these are schedulers."""
        if scheduler in POPULATION:
            raise ValueError(f"got {scheduler}, which chooses values as well, and goes with no other algorithm; set "
                             f"search.algorithm to {scheduler} and leave stop.scheduler out")  # fmt: skip
        return scheduler


class WinnerConfig(RegisterConfig):
    """What becomes of the best trial's model."""

    retrain: bool = Field(
        default=False,
        description="Train it once more on train and val together, and register that; the gate judges the trial's own.",
    )

    @model_validator(mode="after")
    def _nothing_measured_on_what_is_trained_on(self) -> Self:
        if self.retrain and "val" in splits_of(self.gate):
            raise ValueError(
                "gate measures on the samples of val, and `retrain` trains on them; measure on test, or leave out "
                "`confidence`, `slices`, `calibration` and `export`"
            )
        return self


class BudgetConfig(Part):
    """What the sweep may spend, over all executions; nothing is a limit that is left out."""

    gpu_seconds: float | None = Field(default=None, gt=0, description="Seconds of GPUs, over all trials.")
    money: float | None = Field(default=None, gt=0, description="In the currency of the prices that are set.")
    wall: TimeSpan | None = Field(default=None, description="Time that the sweep works, such as `2h`.")
    failed_trials: int | None = Field(default=None, ge=0, description="Trials that may fail by their own fault.")


class SweepSpec(Envelope):
    """A search over the keys of a train spec."""

    from_files: ClassVar[tuple[str, ...]] = ("train",)

    kind: Literal["sweep"] = Field(description="The kind of job.")
    train: dict[str, Any] = Field(description="The train spec: a file beside this one, or its keys.")
    space: dict[str, Dimension] = Field(min_length=1, description="Key of the train spec -> what it may be.")
    constraints: list[str] = Field(
        default=[], description="What the keys must satisfy, such as `architecture.width * data.batch_size <= 4096`."
    )
    search: SearchConfig = Field(default_factory=SearchConfig, description="How points are chosen.")
    objective: Objective | list[Objective] = Field(description="What is to become large or small; or a list.")
    require: list[Requirement] = Field(default=[], description="Bounds on metrics that the best trial keeps.")
    stop: StopConfig = Field(default_factory=StopConfig, description="When a trial is stopped early.")
    budget: BudgetConfig = Field(default_factory=BudgetConfig, description="What the sweep may spend.")
    register_: WinnerConfig | None = Field(
        default=None, alias="register", description="Register the best trial's model, when its gate passes."
    )

    @model_validator(mode="before")
    @classmethod
    def _room_for_trials(cls, data: Any) -> Any:
        """Without `resources` the sweep has room for as many trials as may run at once."""
        if not isinstance(data, dict) or data.get("resources") is not None or not isinstance(data.get("train"), dict):
            return data
        asked = data["train"].get("resources") or {}
        search = data.get("search") or {}
        if not isinstance(asked, dict) or not isinstance(search, dict):
            return data
        workers, trials = asked.get("workers", 1), search.get("trials", SearchConfig().trials)
        concurrent = search.get("concurrent", "auto")
        most = concurrent if type(concurrent) is int else MOST_AT_ONCE
        if type(workers) is not int or type(trials) is not int or most < 1:
            return data
        most = min(most, max(trials, 1)) * workers
        return {**data, "resources": {**asked, "workers": workers if most <= workers else f"{workers}..{most}"}}

    @field_validator("space")
    @classmethod
    def _own_keys(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        for key, _ in all_keys(space):
            if key == TRAIN_ON:
                raise ValueError(
                    f"{key} is `train` for all trials: on what they were trained on, they cannot be compared"
                )
            if key.split(".")[0] in ("kind", "name", "resources", "register", "priority", "labels"):
                raise ValueError(f"{key} is the same for all trials; search the keys of the model, data and optimizer")
        check_apart(space)
        return space

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for at, text in enumerate(self.constraints):
            try:
                Constraint(text)
            except ValueError as error:
                raise ValueError(f"constraints.{at}: {error}") from error
        for at, point in enumerate(self.search.first):
            try:
                draws(self.space, point)
            except ValueError as error:
                raise ValueError(f"search.first.{at}: {error}") from error
        self._check_algorithm()
        self._check_data()
        self._check_resources()
        return self

    def _check_data(self) -> None:
        data = self.train.get("data")
        if isinstance(data, dict) and data.get("train_on", "train") != "train":
            raise ValueError(f"train.{TRAIN_ON} is {data['train_on']}, and trials are compared on val; leave it out, "
                             "and have the best one trained on both by register.retrain")  # fmt: skip

    def _check_resources(self) -> None:
        """The sweep's room is made of trials' room."""
        trial = self._trial_resources
        if trial.is_elastic:
            raise ValueError(f"train.resources.workers {trial.workers} is a range; a trial has so many workers and no "
                             "others: give a number")  # fmt: skip
        for name in ("cpus_per_worker", "gpus_per_worker", "memory_per_worker"):
            room, need = getattr(self.resources, name), getattr(trial, name)
            if room != need:
                raise ValueError(f"resources.{name} {room} is not the trials' own (train.resources.{name} {need}); "
                                 "leave resources out, or give both the same")  # fmt: skip
        if not self.worker_counts:
            raise ValueError(f"resources.workers {self.resources.workers} has no room for a trial of {trial.workers} "
                             "workers; leave resources out, or give it a multiple")  # fmt: skip

    def _check_algorithm(self) -> None:
        algorithm, scheduler = self.search.algorithm, self.stop.scheduler
        if algorithm == "grid" and self.search.first:
            raise ValueError("search.first is for algorithms that choose, and a grid has all its points; leave it out")
        if algorithm == "bohb" and scheduler not in ("none", "hyperband"):
            raise ValueError(f"search.algorithm bohb has Hyperband and stop.scheduler is {scheduler}; "
                             "leave stop.scheduler out")  # fmt: skip
        if self.is_population:
            self._check_population()
            return
        if len(self.objectives) == 1:
            if algorithm == "nsga2":
                raise ValueError("search.algorithm nsga2 is for several objectives and there is one; use tpe or cmaes")
            return
        if algorithm not in SEVERAL:
            raise ValueError(f"search.algorithm {algorithm} has one objective and there are {len(self.objectives)}; "
                             f"allowed: {', '.join(SEVERAL)}")  # fmt: skip
        if self.early_stopping != "none":
            raise ValueError(f"stop.scheduler {scheduler} ranks trials by one objective and there are "
                             f"{len(self.objectives)}; set it to none")  # fmt: skip

    def _check_population(self) -> None:
        """What a population can search: numbers and choices that a run can go on with."""
        algorithm, search = self.search.algorithm, self.search
        if self.stop.scheduler != "none":
            raise ValueError(f"search.algorithm {algorithm} copies better trials in place of stopping bad ones, and "
                             f"stop.scheduler is {self.stop.scheduler}; leave stop out")  # fmt: skip
        if len(self.objectives) > 1:
            raise ValueError(f"search.algorithm {algorithm} has one objective and there are {len(self.objectives)}; "
                             f"allowed: {', '.join(SEVERAL)}")  # fmt: skip
        if search.trials < 2:
            raise ValueError(f"search.trials {search.trials} is no population; set it to 2 at least")
        if search.warm_start is not None or search.again:
            key = "warm_start" if search.warm_start is not None else "again"
            raise ValueError(f"search.{key} is for trials one by one, and {algorithm} has a population; leave it out")
        for key, dimension in self.space.items():
            if key not in CHANGEABLE:
                raise ValueError(f"space.{key}: {algorithm} changes values while a trial trains, and this one stays as "
                                 f"it is for a run's life; allowed: {', '.join(CHANGEABLE)}")  # fmt: skip
            if isinstance(dimension.choice, dict):
                raise ValueError(f"space.{key}: a choice that brings keys is for trials one by one; give {algorithm} a "
                                 "list")  # fmt: skip
            if algorithm == "pb2" and dimension.kind == "choice":
                raise ValueError(f"space.{key}: pb2 models numbers and this is a choice; give it a range, or set "
                                 "search.algorithm to pbt")  # fmt: skip
        checkpoint = self.train.get("checkpoint")
        copies = checkpoint.get("copy_to") if isinstance(checkpoint, dict) else None
        for key, given in (("train.checkpoint.copy_to", copies), ("train.changes", self.train.get("changes"))):
            if given:
                raise ValueError(f"{key} is for runs that keep their weights and values, and {algorithm} exchanges "
                                 "both; leave it out")  # fmt: skip

    @property
    def is_population(self) -> bool:
        """Whether trials copy each other."""
        return self.search.algorithm in POPULATION

    @property
    def objectives(self) -> Sequence[Objective]:
        """All objectives, the first first."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @property
    def early_stopping(self) -> str:
        """The rule by which trials are stopped early."""
        return "hyperband" if self.search.algorithm == "bohb" else self.stop.scheduler

    @property
    def unit(self) -> Literal["ep", "step"]:
        """What the trials' measurements are counted in."""
        return (self.search.interval if self.is_population else self.stop.grace).unit

    @property
    def trial_workers(self) -> int:
        """Workers of one trial."""
        return self._trial_resources.most_workers

    @property
    def _trial_resources(self) -> Resources:
        asked: Mapping[str, Any] = self.train.get("resources") or {}
        return Resources.model_validate(asked)

    @property
    def worker_counts(self) -> Sequence[int]:
        """As many as whole trials have."""
        each = self.trial_workers
        return [count for count in self.resources.worker_counts if count % each == 0]
