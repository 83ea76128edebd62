"""What the specs of all kinds have in common. A kind's own spec model is a subclass that adds its keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from forgeline.spec.units import Size, TimeSpan
from forgeline.spec.workers import WorkerRange, Workers

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

RetryCause = Literal["preempted", "node_lost", "hang", "out_of_memory", "user_error", "platform_error"]


def _slug(name: str) -> str:
    if _SLUG.fullmatch(name) is None:
        nearby = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:63]
        hint = f"; for example `{nearby}`" if nearby else ""
        rule = "1 to 63 lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
        raise ValueError(f"got {name[:80]!r}; a name is {rule}{hint}")
    return name


Slug = Annotated[
    str, AfterValidator(_slug), Field(json_schema_extra={"pattern": f"^{_SLUG.pattern}$", "examples": ["digits"]})
]


class Resources(BaseModel):
    """What a job needs, per worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: Workers = Field(
        default=1,
        description="Worker processes that share the work; or a range, such as `2..4`, of which as many as fit.",
    )
    cpus_per_worker: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Logical CPUs of each worker; a fraction is allowed."
    )
    gpus_per_worker: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="GPUs of each worker; 0 runs on CPUs."
    )
    memory_per_worker: Size | None = Field(
        default=None, description="Memory reserved for each worker, such as `16GiB`; nothing is reserved without it."
    )

    @property
    def fewest_workers(self) -> int:
        """Workers without which the job does not start."""
        return self.workers.fewest if isinstance(self.workers, WorkerRange) else self.workers

    @property
    def most_workers(self) -> int:
        """Workers that it has where there is room for all."""
        return self.workers.most if isinstance(self.workers, WorkerRange) else self.workers

    @property
    def worker_counts(self) -> Sequence[int]:
        """Every number of workers that is allowed, fewest first."""
        return range(self.fewest_workers, self.most_workers + 1)

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers may change."""
        return isinstance(self.workers, WorkerRange)

    def with_workers(self, count: int) -> Resources:
        """The same for a certain number of workers."""
        return self.model_copy(update={"workers": count})


class Envelope(BaseModel):
    """Base of every kind's spec: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_files: ClassVar[tuple[str, ...]] = ()
    """Keys, dotted where they lie deeper, whose value may be the name of a YAML file that has it, beside this one."""

    kind: str = Field(description="The kind of job.")
    name: Slug = Field(description="Name of the run, for people; several runs may have the same.")
    resources: Resources = Field(default_factory=Resources, description="What the job needs, per worker.")
    retry: dict[RetryCause, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Cause of a failure -> how often to try again after it; 0 if left out.",
    )
    timeout: TimeSpan | None = Field(
        default=None, description="Time after which the run is stopped, such as `1h30m`; no limit without it."
    )
    max_idle: TimeSpan | None = Field(
        default=None, description="Time without any progress after which the run is stopped, such as `20m`."
    )
    grace: TimeSpan | None = Field(
        default=None,
        description="Time to write a last checkpoint between a wish to stop and the kill; that of the installation "
        "(`FORGELINE_CANCEL_GRACE_S`, 30 s) without it.",
    )
    priority: int = Field(default=0, description="Runs with a higher priority leave the queue first.")
    labels: dict[str, str] = Field(default_factory=dict, description="Free `key: text` pairs kept on the run.")

    @property
    def worker_counts(self) -> Sequence[int]:
        """Numbers of workers that the job can have, fewest first; a kind that cannot do with each says with which."""
        return self.resources.worker_counts

    def resolved(self) -> dict[str, Any]:
        """All keys with their values, defaults included, as plain data."""
        return self.model_dump(mode="json", by_alias=True)
