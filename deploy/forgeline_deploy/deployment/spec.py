"""The spec of `kind: deployment`, put together from the parts that their packages own."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from forgeline.errors import UsageError
from forgeline.registry.references import ModelReference, parse
from forgeline.spec.envelope import Envelope
from forgeline.spec.workers import WorkerRange, Workers
from forgeline_deploy.alerts.spec import Destinations
from forgeline_deploy.monitor.spec import MonitorConfig, Reported
from forgeline_deploy.retraining.spec import RetrainConfig
from forgeline_deploy.rollout.spec import RolloutConfig
from forgeline_deploy.serving.spec import ServeConfig


class WatchConfig(MonitorConfig):
    """What is watched of a deployment, who is told, and what follows."""

    alert: Destinations = ()
    report: Reported = Field(
        default="alarms",
        description="Windows whose report for people is attached to the run in MLflow: `alarms`, those in which "
        "something is found that was not found just before; `all`; or `none`.",
    )
    retrain: RetrainConfig | None = Field(default=None, description="Training again when an alarm stands.")

    @model_validator(mode="after")
    def _there_is_something_to_learn_from(self) -> Self:
        if self.retrain is None:
            return self
        if self.labels is None:
            raise ValueError("retrain learns from labelled answers; set labels.path to the files in which labels come")
        if self.sample_payloads == 0:
            raise ValueError(
                "retrain learns from what was asked; set sample_payloads to the requests of a window that are kept"
            )
        return self

    @property
    def policy(self) -> MonitorConfig:
        """What windows are judged by, alone."""
        return MonitorConfig.model_validate(self.model_dump(include=set(MonitorConfig.model_fields)))


class DeploymentSpec(Envelope):
    """Serve a model, and watch over it."""

    from_files: ClassVar[tuple[str, ...]] = ("monitor.retrain.spec",)

    kind: Literal["deployment"] = Field(description="The kind of job.")
    model: str = Field(
        description="`models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or a bundle's folder. The version that "
        "it names when the run begins is served until a rollout has another one take its place."
    )
    serve: ServeConfig = Field(default_factory=ServeConfig, description="Replicas, batches, the queue, the address.")
    rollout: RolloutConfig | None = Field(default=None, description="How a challenger takes over, step by step.")
    monitor: WatchConfig | None = Field(default=None, description="What is watched, who is told, and what follows.")

    @model_validator(mode="after")
    def _replicas_are_the_workers(self) -> Self:
        if self.retry:
            raise ValueError(
                "retry is for kind train; a deployment's processes are started again whenever they die: remove it"
            )
        workers, replicas = self.resources.workers, self.serve.replicas
        held = replicas if self.rollout is None else _twice(replicas)
        if workers not in (1, held):
            raise ValueError(
                f"got resources.workers {workers}; the workers of a deployment are its replicas: leave it out, and set "
                "serve.replicas"
            )
        # What the run holds of the host is what its replicas need; the model is frozen for everybody else.
        object.__setattr__(self, "resources", self.resources.model_copy(update={"workers": held}))
        return self

    @model_validator(mode="after")
    def _versions_are_of_one_model(self) -> Self:
        wanting = [name for name in ("rollout", "monitor.retrain") if self._has(name)]
        if not wanting:
            return self
        own = _registered(self.model)
        if own is None:
            raise ValueError(
                f"got model {self.model!r}; {wanting[0]} needs a registered one, such as models:/NAME@champion"
            )
        if self.rollout is not None:
            if not self.model.endswith("@champion"):
                raise ValueError(
                    f"got model {self.model!r}; a rollout moves the alias champion, and compares with the version that "
                    f"has it: write models:/{own}@champion"
                )
            other = _registered(self.rollout.challenger)
            if other != own:
                raise ValueError(f"rollout.challenger is of the model {other!r}; allowed: of {own!r}, as `model` is")
            compare = self.rollout.compare
            if compare is not None and compare.metric == "log_loss":
                raise ValueError(
                    "rollout.compare.metric: got log_loss; of served answers only the predicted class's probability is "
                    "kept; allowed: error_rate, absolute_error, squared_error"
                )
            if compare is not None and (self.monitor is None or self.monitor.labels is None):
                raise ValueError(
                    "rollout.compare waits for labels, and none arrive; set monitor.labels.path, or leave compare out"
                )
        return self

    def _has(self, part: str) -> bool:
        if part == "rollout":
            return self.rollout is not None
        return self.monitor is not None and self.monitor.retrain is not None


def _twice(replicas: Workers) -> Workers:
    """Champion and challenger are up at the same time."""
    if isinstance(replicas, WorkerRange):
        return WorkerRange(2 * replicas.fewest, 2 * replicas.most)
    return 2 * replicas


def _registered(reference: str) -> str | None:
    try:
        parsed = parse(reference)
    except UsageError:
        return None
    return parsed.name if isinstance(parsed, ModelReference) else None
