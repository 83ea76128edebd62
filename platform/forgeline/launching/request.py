"""What the driver is asked to do: written by the command line or the API, read by the driver on any host."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from forgeline.errors import UsageError

VARIABLE = "FORGELINE_REQUEST"
"""Environment variable that carries the request to a driver inside a Ray job."""

EVENTS, LOG = "events.jsonl", "driver.log"
"""Names in a staging folder; `RunPaths` has their final places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One execution of a run.

    Attributes:
        spec: the resolved specification as YAML.
        staging: folder for events and log while the run has no id yet; None inside a Ray job.
        resume: id of the run that is continued.
        cluster: address as the user wrote it; None for local Ray.
        parent: the run that it is a part of, and in whose Ray and place it runs; None for one of its own.
        until: length of training, such as `4ep`, after which the run pauses with a checkpoint; None to go to its end.
        token: names this launch, so that what belongs together is found before the run has an id.
    """

    spec: str
    token: str
    staging: str | None = None
    resume: str | None = None
    cluster: str | None = None
    parent: str | None = None
    until: str | None = None

    @property
    def submission_id(self) -> str | None:
        """The Ray job that the driver is on a cluster; None for local Ray, and for a part of another run."""
        return f"forgeline-{self.token}" if self.cluster and self.parent is None else None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Raises UsageError when the text is not a request."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise UsageError(f"this is not a run request ({error}); requests are written by `forgeline run`") from error
