"""The part `serve` of a deployment: replicas, batches, the queue, the address and who may ask."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline.errors import SpecError
from forgeline.spec.units import Size, TimeSpan
from forgeline.spec.workers import WorkerRange, Workers

TOKEN_VARIABLE = "FORGELINE_SERVE_TOKEN"
"""Environment variable with the token, where the spec names no other."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHORTEST_TOKEN = 16

_Count = Annotated[int, Field(ge=1, le=1_000_000)]


class ServeConfig(BaseModel):
    """How a model is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: Workers = Field(
        default=1,
        description="Processes that hold the model; a range such as `1..4` follows the load between the two numbers.",
    )
    scale_up_after: TimeSpan = Field(
        default=TimeSpan(5_000),
        description="How long batches must queue for the replicas until another one is started, within a range.",
    )
    scale_down_after: TimeSpan = Field(
        default=TimeSpan(120_000), description="How long fewer replicas must have been enough until one is stopped."
    )
    max_batch: _Count = Field(default=32, description="Samples that go through the model together at most.")
    batch_wait: TimeSpan = Field(
        default=TimeSpan(5), description="How long the first sample of a batch waits for others, such as `5ms`."
    )
    max_queue: _Count = Field(
        default=256,
        description="Samples that may wait for a replica; a request that finds no room is answered with 429.",
    )
    request_timeout: TimeSpan = Field(
        default=TimeSpan(30_000), description="Time after which a request that is still not answered gets 504."
    )
    max_body: Size = Field(default=Size(16 * 2**20), description="Largest body of a request; a larger one gets 413.")
    max_pixels: _Count = Field(
        default=1_000_000, description="Most pixels of a PNG or JPEG file, height times width; a larger one gets 422."
    )
    host: str = Field(default="127.0.0.1", description="Address that is listened on; `0.0.0.0` is all of IPv4.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that is listened on; 0 takes any free one.")
    token: str | None = Field(
        default=None,
        description="Environment variable that holds the token which clients show, as `${NAME}`; without it "
        f"`${{{TOKEN_VARIABLE}}}` where the address is not this host's own, and none where it is.",
        json_schema_extra={"pattern": f"^{_VARIABLE.pattern}$"},
    )
    open: bool = Field(
        default=False, description="Whether everybody who reaches an outside address may ask without a token."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        # The value itself is never shown: somebody may have written the token there.
        if self.token is not None and _VARIABLE.fullmatch(self.token) is None:
            raise ValueError("token is no environment variable; write `token: ${NAME}`, and set NAME to the token")
        if self.open and self.token is not None:
            raise ValueError("open is true, and token names one; leave one of them out")
        if self.max_queue < self.max_batch:
            raise ValueError(f"max_queue is {self.max_queue}, less than a batch (max_batch {self.max_batch}); raise it")
        return self

    @property
    def fewest_replicas(self) -> int:
        return self.replicas.fewest if isinstance(self.replicas, WorkerRange) else self.replicas

    @property
    def most_replicas(self) -> int:
        return self.replicas.most if isinstance(self.replicas, WorkerRange) else self.replicas

    @property
    def is_local(self) -> bool:
        """Whether only this host can reach the address."""
        return is_loopback(self.host)

    @property
    def token_variable(self) -> str | None:
        """Environment variable with the token; None where everybody may ask."""
        if self.token is not None:
            return self.token[2:-1]
        return None if self.is_local or self.open else TOKEN_VARIABLE

    def read_token(self) -> str | None:
        """The token that clients must show; None where they need none.

        Raises:
            SpecError: the environment variable is not set, or what it holds can be guessed.
        """
        variable = self.token_variable
        if variable is None:
            return None
        token = os.environ.get(variable, "")
        if not token:
            raise SpecError(
                f"${{{variable}}} is not set, and host {self.host} needs a token: set it, name another variable in "
                "serve.token, listen on 127.0.0.1, or let everybody in with serve.open: true",
                key="serve.token",
            )
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise SpecError(
                f"${{{variable}}} holds {len(token)} characters; allowed: {_SHORTEST_TOKEN} or more printable ASCII "
                "characters without a space",
                key="serve.token",
            )
        return token


def is_loopback(host: str) -> bool:
    """Whether an address is one of this host alone.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
