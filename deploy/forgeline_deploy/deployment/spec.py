"""The spec of `kind: deployment`, put together from the parts that their packages own.

A further part is one more field here, `None` where a deployment does without it.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from forgeline.spec.envelope import Envelope
from forgeline_deploy.serving.spec import ServeConfig


class DeploymentSpec(Envelope):
    """Serve a model."""

    kind: Literal["deployment"] = Field(description="The kind of job.")
    model: str = Field(
        description="`models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or a bundle's folder. The version that "
        "it names when the run begins is served to its end."
    )
    serve: ServeConfig = Field(default_factory=ServeConfig, description="Replicas, batches, the queue, the address.")

    @model_validator(mode="after")
    def _replicas_are_the_workers(self) -> Self:
        if self.retry:
            raise ValueError(
                "retry is for kind train; a deployment's processes are started again whenever they die: remove it"
            )
        workers, replicas = self.resources.workers, self.serve.replicas
        if workers not in (1, replicas):
            raise ValueError(
                f"got resources.workers {workers}; the workers of a deployment are its replicas: leave it out, and set "
                "serve.replicas"
            )
        # What the run holds of the host is what its replicas need; the model is frozen for everybody else.
        object.__setattr__(self, "resources", self.resources.model_copy(update={"workers": replicas}))
        return self
