"""The spec of `kind: train`, with the checks that cross its fields; nothing here needs torch or Ray."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline.registry.aliases import Alias
from forgeline.registry.conditions import GateConfig, main_metric
from forgeline.spec.envelope import Envelope
from forgeline.spec.parts import plugin_part
from forgeline.spec.units import Length, TimeSpan
from forgeline_architectures.optimisation.options import OptimizerConfig
from forgeline_jobs.train import changes
from forgeline_jobs.train.changes import Change
from forgeline_jobs.train.fine_tuning import FineTuneConfig
from forgeline_jobs.train.strategies.config import DDPConfig, StrategyConfig, check_run

DEFAULT_EPOCHS = 10


class Part(BaseModel):
    """A block of the spec: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainerConfig(Part):
    """How long and how to train."""

    epochs: int | None = Field(default=None, ge=1, description="Passes over the training split; or give `steps`.")
    steps: int | None = Field(default=None, ge=1, description="Optimizer steps; or give `epochs`.")
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"] = Field(
        default="32-true", description="Arithmetic of the forward and backward pass; 16-mixed needs a GPU."
    )
    gradient_clip: float | None = Field(default=None, gt=0, description="Largest global L2 norm of the gradient.")
    accumulate: int = Field(default=1, ge=1, description="Batches whose gradients are added up before a step.")
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        default=None,
        description="Samples that go through the model together on a worker, a divisor of its share of a batch; "
        "`auto`: as many as fit, fewer when memory runs out. The whole share without it.",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="Decay of an exponential moving average of the weights, e.g. 0.999."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of initial weights, sample order and dropout.")
    validate_every: Length = Field(default=Length.parse("1ep"), description="How often to validate: `1ep`, `200step`.")
    log_every: int | None = Field(
        default=None, ge=1, description="Steps between writes of metrics; every step by default on CPU, 20 on a GPU."
    )
    trace: bool = Field(
        default=False, description="Write digests of samples and weights, and the loss, of every step of every worker."
    )
    compile: bool = Field(default=False, description="Compile the model with torch.compile.")
    gradient_checkpointing: bool = Field(
        default=False, description="Keep each block's inputs alone and compute it again for the gradient: less memory."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_length(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("epochs") is None and data.get("steps") is None:
            return {**data, "epochs": DEFAULT_EPOCHS}
        return data

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(
                f"give `epochs` or `steps`, not both (got epochs {self.epochs} and steps {self.steps}); remove one"
            )
        return self


class CheckpointConfig(Part):
    """When checkpoints are written, which are kept, and which one becomes the model."""

    every: Length | None = Field(default=None, description="Besides every validation: `500step`; or nothing.")
    keep_last: int = Field(default=2, ge=1, description="Newest checkpoints to keep.")
    keep_best: int = Field(default=1, ge=1, description="Checkpoints of the best validations to keep besides.")
    keep_every: Length | None = Field(
        default=None, description="The first checkpoint in each so many steps or epochs stays for good: `10ep`."
    )
    asynchronous: bool = Field(default=True, description="Go on training while a checkpoint is written, from a copy.")
    copy_to: str | None = Field(
        default=None,
        description="Folder or URL that checkpoints are copied to as well: `/mnt/safe`, `s3://bucket/folder`.",
    )
    select: Literal["best", "last"] = Field(default="best", description="Which checkpoint becomes the model.")
    metric: str | None = Field(
        default=None, description="Metric of the validation split that `best` means; the gate's, else `val/loss`."
    )


class RegisterConfig(Part):
    """Under which name the model is registered, and what it must show to get the alias."""

    model: str = Field(description="Name of the registered model.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    alias: Alias = Field(default="champion", description="Alias that a passing gate sets.")
    gate: GateConfig | None = Field(
        default=None, description="What must hold before the alias moves, one condition or a list; nothing: always."
    )


class TrainSpec(Envelope):
    """One training job."""

    kind: Literal["train"] = Field(description="The kind of job.")
    architecture: plugin_part("forgeline.architectures") = Field(description="The model: `name` and its settings.")  # type: ignore[valid-type]
    data: plugin_part("forgeline.data") = Field(description="The data: `name` and its settings.")  # type: ignore[valid-type]
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="Optimizer and schedule.")
    trainer: TrainerConfig = Field(default_factory=TrainerConfig, description="How long and how to train.")
    fine_tune: FineTuneConfig = Field(default_factory=FineTuneConfig, description="Starting from trained weights.")
    changes: list[Change] = Field(default=[], description="Settings that change while it trains, in order.")
    checkpoint: CheckpointConfig = Field(
        default_factory=CheckpointConfig, description="Writing and keeping checkpoints."
    )
    hang_after: TimeSpan = Field(
        default=TimeSpan.parse("45s"),
        description="Time without progress after which a training step counts as hung; slow phases have 30 times that.",
    )
    strategy: StrategyConfig = Field(
        default_factory=DDPConfig, description="How workers share the work: `ddp`, `fsdp`, `deepspeed`, or `auto`."
    )
    register_: RegisterConfig | None = Field(default=None, alias="register", description="Registration of the model.")

    @property
    def worker_counts(self) -> tuple[int, ...]:
        """Numbers of workers that the run can have, of a range those that share a batch evenly, fewest first."""
        counts = self.resources.worker_counts
        return tuple(filter(self._shares_evenly, counts)) if self.resources.is_elastic else tuple(counts)

    @property
    def workers(self) -> int:
        """Workers of the run; of a range the fewest, each of which has most to do and to hold."""
        return self.worker_counts[0]

    def with_workers(self, count: int) -> TrainSpec:
        """The same for a certain number of workers."""
        return self.model_copy(update={"resources": self.resources.with_workers(count)})

    @property
    def readers(self) -> int:
        """Workers that read samples of their own; those that share matrices read the same."""
        return self.workers // self.strategy.readers_share

    @property
    def share(self) -> int:
        """Samples of a batch on each worker."""
        return int(self.data.batch_size) // self.readers

    @property
    def pieces(self) -> int:
        """That a worker's share of a batch goes through the model in, one after another, before a step."""
        size = self.trainer.micro_batch
        return 1 if size is None or size == "auto" else self.share // size

    @property
    def length(self) -> Length:
        """How long it trains."""
        trainer = self.trainer
        return Length(trainer.steps, "step") if trainer.steps is not None else Length(trainer.epochs or 0, "ep")

    @property
    def monitor(self) -> str:
        """The metric that `best` means."""
        if self.checkpoint.metric is not None:
            return self.checkpoint.metric
        metric = main_metric(self.register_.gate) if self.register_ is not None else None
        return metric if metric is not None and metric.startswith("val/") else "val/loss"

    @model_validator(mode="after")
    def _crosses(self) -> Self:
        changes.check(self)
        self._check_workers()
        self._check_micro_batch()
        own = getattr(self.architecture, "pretrained", None)
        if own and self.fine_tune.pretrained is not None:
            raise ValueError(
                f"weights come from architecture.pretrained ({own!r}) or from fine_tune.pretrained "
                f"({self.fine_tune.pretrained!r}), not from both; remove one"
            )
        if self.fine_tune.adapter is not None and not (own or self.fine_tune.pretrained or self.fine_tune.parts):
            raise ValueError(
                "fine_tune.adapter adds to trained weights and there are none; set fine_tune.pretrained or "
                "fine_tune.parts, or architecture.pretrained where the architecture has it"
            )
        if self.trainer.precision == "16-mixed" and self.resources.gpus_per_worker == 0:
            raise ValueError(
                "trainer.precision 16-mixed needs a GPU and resources.gpus_per_worker is 0; "
                "use 32-true or bf16-mixed, or ask for a GPU"
            )
        gpus, adapter = self.resources.gpus_per_worker, self.fine_tune.adapter is not None
        check_run(self.strategy, trainer=self.trainer, gpus_per_worker=gpus, adapter=adapter)
        return self

    def _shares_evenly(self, workers: int) -> bool:
        """Whether so many workers share a batch evenly, each with as many samples as the model and its pieces take."""
        sharing, batch_size = self.strategy.readers_share, int(self.data.batch_size)
        if workers % sharing or batch_size % (workers // sharing):
            return False
        each, size = batch_size // (workers // sharing), self.trainer.micro_batch
        takes_any = bool(self.fine_tune.freeze) or self.fine_tune.adapter is not None
        enough = takes_any or each >= getattr(self.architecture, "fewest_samples", 1)
        return enough and (not isinstance(size, int) or each % size == 0)

    def _check_workers(self) -> None:
        resources, sharing, batch_size = self.resources, self.strategy.readers_share, int(self.data.batch_size)
        if resources.is_elastic:
            if not self.worker_counts:
                raise ValueError(self._no_count())
            return
        workers = resources.most_workers
        if workers % sharing:
            raise ValueError(
                f"strategy.tensor_parallel {sharing} does not divide resources.workers {workers}; change one of them"
            )
        readers = workers // sharing
        if batch_size % readers:
            raise ValueError(
                f"data.batch_size {batch_size} is global and is shared by resources.workers {readers}, "
                f"which does not divide it; set data.batch_size to {_multiples_near(batch_size, readers)}, or change "
                "resources.workers"
            )

    def _no_count(self) -> str:
        """What to say where no number of workers in the range will do."""
        resources, sharing, batch_size = self.resources, self.strategy.readers_share, int(self.data.batch_size)
        below = max((n for n in range(1, resources.fewest_workers) if self._shares_evenly(n)), default=None)
        above = next(
            (n for n in range(resources.most_workers + 1, batch_size * sharing + 1) if self._shares_evenly(n)), None
        )
        counts = " or ".join(str(count) for count in (below, above) if count is not None) or "another range"
        readers = max(resources.fewest_workers // sharing, 1)
        return (
            f"data.batch_size {batch_size} is global and no number of resources.workers {resources.workers} shares it "
            f"evenly; set resources.workers to a range with {counts} in it, or data.batch_size to "
            f"{_multiples_near(batch_size, readers)}"
        )

    def _check_micro_batch(self) -> None:
        size, share = self.trainer.micro_batch, self.share
        if not isinstance(size, int) or share % size == 0:
            return
        below = max(number for number in range(1, min(size, share) + 1) if share % number == 0)
        above = next((number for number in range(size, share + 1) if share % number == 0), None)
        near = f"{below}" if above is None else f"{below} or {above}"
        raise ValueError(
            f"trainer.micro_batch {size} does not divide the {share} samples of a batch that each worker has "
            f"(data.batch_size {self.data.batch_size} by {self.readers} workers); set trainer.micro_batch to {near}"
        )


def _multiples_near(number: int, of: int) -> str:
    """The multiples below and above.

    >>> _multiples_near(16, 3), _multiples_near(2, 3)
    ('15 or 18', '3')
    """
    lower, upper = number // of * of, -(-number // of) * of
    return f"{lower} or {upper}" if lower else f"{upper}"
