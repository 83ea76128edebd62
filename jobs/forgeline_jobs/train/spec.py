"""The spec of `kind: train`, with the checks that cross its fields; nothing here needs torch or Ray."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline.registry.aliases import Alias
from forgeline.registry.gates import Gate
from forgeline.spec.envelope import Envelope
from forgeline.spec.parts import plugin_part
from forgeline.spec.units import Length, TimeSpan
from forgeline_architectures.optimisation.options import OptimizerConfig
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
    gate: Gate | None = Field(default=None, description="What must hold before the alias moves; nothing: always.")


class TrainSpec(Envelope):
    """One training job."""

    kind: Literal["train"] = Field(description="The kind of job.")
    architecture: plugin_part("forgeline.architectures") = Field(description="The model: `name` and its settings.")  # type: ignore[valid-type]
    data: plugin_part("forgeline.data") = Field(description="The data: `name` and its settings.")  # type: ignore[valid-type]
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="Optimizer and schedule.")
    trainer: TrainerConfig = Field(default_factory=TrainerConfig, description="How long and how to train.")
    fine_tune: FineTuneConfig = Field(default_factory=FineTuneConfig, description="Starting from trained weights.")
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
    def readers(self) -> int:
        """Workers that read samples of their own; those that share matrices read the same.

        Raises:
            ValueError: workers are left over.
        """
        workers, share = self.resources.workers, self.strategy.readers_share
        if workers % share:
            raise ValueError(
                f"strategy.tensor_parallel {share} does not divide resources.workers {workers}; change one of them"
            )
        return workers // share

    @property
    def monitor(self) -> str:
        """The metric that `best` means."""
        if self.checkpoint.metric is not None:
            return self.checkpoint.metric
        gate = self.register_.gate if self.register_ is not None else None
        return gate.metric if gate is not None else "val/loss"

    @model_validator(mode="after")
    def _crosses(self) -> Self:
        batch_size, workers = self.data.batch_size, self.readers
        if batch_size % workers:
            lower, upper = batch_size // workers * workers, -(-batch_size // workers) * workers
            near = f"{lower} or {upper}" if lower else f"{upper}"
            raise ValueError(
                f"data.batch_size {batch_size} is global and is shared by resources.workers {workers}, "
                f"which does not divide it; set data.batch_size to {near}, or change resources.workers"
            )
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
