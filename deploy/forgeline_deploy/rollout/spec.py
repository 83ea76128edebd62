"""The `rollout` block of a deployment: the steps, what is compared, and the limits that roll back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forgeline.errors import UsageError
from forgeline.registry.references import ModelReference, parse
from forgeline.spec.units import Share, TimeSpan
from forgeline_deploy.rollout.losses import METRICS, Metric

_MODES = "`shadow` at most once and first, then rising shares, the last 100%: `shadow -> canary 5% -> 25% -> 100%`"


class Part(BaseModel):
    """A block of the spec: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a rollout.

    Attributes:
        share: of the requests that the challenger answers, 0 to 1.
        shadow: whether it also answers, unseen, what the champion answers.
    """

    share: float
    shadow: bool = False

    def __str__(self) -> str:
        return "shadow" if self.shadow else str(Share(self.share))


def parse_mode(text: str) -> tuple[Step, ...]:
    """The steps that `mode` names.

    >>> [str(step) for step in parse_mode("shadow -> canary 5% -> 100%")]
    ['shadow', '5%', '100%']

    Raises:
        ValueError: what is wrong with it, and what is allowed.
    """
    steps: list[Step] = []
    for number, part in enumerate(re.split(r"\s*->\s*", text.strip()), start=1):
        if part == "shadow":
            if steps:
                raise ValueError(f"got {text!r}: `shadow` is step {number}; allowed: {_MODES}")
            steps.append(Step(0.0, shadow=True))
            continue
        try:
            share = Share.parse(re.sub(r"^canary\s+", "", part)).value
        except ValueError:
            raise ValueError(f"got {text!r}: step {number} is {part!r}; allowed: {_MODES}") from None
        if share <= (steps[-1].share if steps else 0.0):
            raise ValueError(f"got {text!r}: {part!r} is not more than the step before it; allowed: {_MODES}")
        steps.append(Step(share))
    if steps[-1].share != 1:
        raise ValueError(f"got {text!r}, which ends before 100%; allowed: {_MODES}")
    return tuple(steps)


class CompareConfig(Part):
    """Whether the challenger is worse than the champion, by labels that come later."""

    metric: Metric = Field(
        default="error_rate",
        description=f"What is compared, less being better: {', '.join(f'`{m}`' for m in METRICS)}.",
    )
    worse_by: float = Field(
        default=0.02, ge=0, description="By how much the challenger's mean may be larger, in the metric's unit."
    )
    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        description="Of not rolling back a challenger that is within `worse_by`, however often it is looked at; and "
        "of not letting one pass that is not.",
    )
    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Of metrics other than `error_rate`, which needs none: the largest loss of one request that "
        "counts, in the metric's unit; larger ones count as this.",
    )
    min_labels: int = Field(default=100, ge=1, description="Labelled requests (pairs, in shadow) before it decides.")
    require: Literal["proof", "no_harm"] = Field(
        default="proof",
        description="What the first step needs to be left: `proof` that the challenger is worse by at most "
        "`worse_by`, or only `no_harm`: `min_labels` without proof that it is worse.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.metric == "error_rate" and self.bound is not None:
            raise ValueError(f"bound: got {self.bound:g}; an error rate is bounded by 1 already, leave it out")
        if self.metric != "error_rate" and self.bound is None:
            raise ValueError(f"bound: needed for {self.metric}: the largest loss of one request that counts")
        if self.worse_by >= self.largest:
            raise ValueError(f"worse_by: got {self.worse_by:g}; allowed: less than {self.largest:g}, the largest loss")
        return self

    @property
    def largest(self) -> float:
        """The largest loss of one request that counts."""
        return 1.0 if self.bound is None else self.bound


class GuardConfig(Part):
    """Limits on the challenger by itself; it is rolled back when it is certain to be over one."""

    p50: TimeSpan | None = Field(default=None, description="Half of its answers come within this time.")
    p95: TimeSpan | None = Field(default=None, description="95 % of its answers come within this time.")
    p99: TimeSpan | None = Field(default=None, description="99 % of its answers come within this time.")
    errors: Share | None = Field(
        default=Share(0.01), description="Share of its requests that may fail (5xx), or find its queue full (429)."
    )
    disagreement: Share | None = Field(
        default=None, description="Share of shadowed requests that it may answer otherwise than the champion does."
    )
    confidence: float = Field(
        default=0.99, gt=0.5, lt=1, description="Of not rolling back a challenger that is within all limits."
    )
    min_requests: int = Field(default=50, ge=1, description="Requests of the challenger before a limit decides.")

    @field_validator("errors", "disagreement")
    @classmethod
    def _within(cls, share: Share | None) -> Share | None:
        if share is not None and not 0 < share.value < 1:
            raise ValueError(f"got {share}; allowed: more than 0% and less than 100%")
        return share

    def latencies(self) -> dict[str, tuple[float, float]]:
        """Of each limit on latency: its seconds, and the share of answers that may be slower."""
        given = {"p50": (self.p50, 0.5), "p95": (self.p95, 0.05), "p99": (self.p99, 0.01)}
        return {name: (span.total_seconds(), share) for name, (span, share) in given.items() if span is not None}


class RolloutConfig(Part):
    """How a challenger takes over, step by step, or does not."""

    challenger: str = Field(
        description="The model that may take over, of the champion's name: `models:/NAME@ALIAS` or "
        "`models:/NAME/VERSION`."
    )
    mode: str = Field(
        default="shadow -> canary 5% -> 25% -> 100%",
        description="The steps: `shadow` (it answers too, unseen), then the shares of requests that it answers.",
    )
    compare: CompareConfig | None = Field(
        default=None, description="The comparison by labels; without it only the guard decides."
    )
    guard: GuardConfig = Field(default=GuardConfig(), description="Limits on errors and latency.")
    hold: TimeSpan = Field(default=TimeSpan(600_000), description="Least time of each step.")
    requests: int = Field(default=200, ge=0, description="Least number of the challenger's requests in each step.")
    timeout: TimeSpan = Field(default=TimeSpan(7 * 86_400_000), description="Longest time of a rollout until 100%.")
    on_timeout: Literal["roll_back", "pause"] = Field(
        default="roll_back", description="What happens when the evidence did not suffice by then."
    )
    on_new_challenger: Literal["finish", "replace"] = Field(
        default="finish",
        description="When the alias moves to another version meanwhile, after a retrain say: `finish` this rollout "
        "first, or cancel it, so that the new version can `replace` it.",
    )

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, mode: str) -> str:
        parse_mode(mode)
        return mode

    @field_validator("challenger")
    @classmethod
    def _registered(cls, challenger: str) -> str:
        try:
            found = parse(challenger)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if not isinstance(found, ModelReference):
            raise ValueError(
                f"got {challenger!r}; allowed: a registered model, models:/NAME@ALIAS or models:/NAME/VERSION"
            )
        return challenger

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.compare is not None and self.steps[0].share == 1:
            raise ValueError(
                f"mode: got {self.mode!r}, where nothing can be compared; add `shadow` or a share before 100%"
            )
        if self.guard.disagreement is not None and not self.steps[0].shadow:
            raise ValueError(f"guard.disagreement: both answer a request in shadow only; mode is {self.mode!r}")
        return self

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, first to last."""
        return parse_mode(self.mode)
