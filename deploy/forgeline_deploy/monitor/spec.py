"""What is watched and how, as it is written under `monitor` of a deployment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from forgeline.errors import UsageError
from forgeline.spec.units import Share, TimeSpan
from forgeline_deploy.detection.spec import Promise, ToleranceSpec

Reported = Literal["alarms", "all", "none"]
"""Windows that have a report for people made."""

_DAY_S = 86_400


def _span(seconds: float) -> TimeSpan:
    return TimeSpan(round(seconds * 1000))


class Labels(BaseModel):
    """Where what turned out to be true is put, some time after the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        description="Parquet files, as a pattern such as `labels/*.parquet`; each is read once, when it is whole.",
        min_length=1,
    )
    key: str = Field(default="request_id", description="Column with the id of the request that was answered.")
    label: str = Field(default="label", description="Column with what turned out to be true.")
    within: TimeSpan = Field(
        default=_span(14 * _DAY_S), description="How long after an answer its label may come: `14d`."
    )

    @property
    def pattern(self) -> Path:
        """`path` as an absolute pattern."""
        return Path(self.path).expanduser().absolute()


class Bounds(BaseModel):
    """What must hold whatever the data look like. Each is held with certainty, see `promise`, before it is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    errors: Share = Field(default=Share(0.01), description="Largest share of requests that fail on our side: `1%`.")
    p99: TimeSpan | None = Field(
        default=None, description="Longest time that 99 of 100 requests may take: `0.25s`; not watched without it."
    )
    refused: Share = Field(
        default=Share(0.05), description="Largest share of requests that are no valid input: `5%`; a ticket, no page."
    )
    accuracy: Share | None = Field(
        default=None,
        description="Smallest share of labelled answers that are right: `90%`; of classifiers; not watched without it. "
        "A page; an estimate below it, where labels have not come, is a ticket.",
    )
    mean_error: float | None = Field(
        default=None,
        gt=0,
        description="Largest mean distance of labels from predictions, in units of the target; of regressors.",
    )


class HourOfWeek(BaseModel):
    """What an hour of the week was like before, where traffic has a rhythm of days and weeks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weeks: int = Field(
        default=4, ge=1, le=52, description="Weeks of a version's windows that its hours are learnt from."
    )
    rows: int = Field(
        default=1000, ge=100, description="Rows that an hour has at least, before its windows are judged by it."
    )
    timezone: str = Field(default="UTC", description="Whose clock tells the hours: a name such as `Europe/Oslo`.")

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"no time zone {value!r} is known here; allowed: names of the IANA data base, such as `Europe/Oslo`"
            ) from error
        return value


class HourlyReference(BaseModel):
    """Windows are held against the same hour of earlier weeks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hour_of_week: HourOfWeek = Field(description="How hours are learnt; `{}` for all that is usual.")


class MonitorConfig(BaseModel):
    """What is watched of a deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: TimeSpan = Field(default=_span(300), description="Length of a window of event time: `5m`.")
    reference: Annotated[
        Annotated[Literal["model"], Tag("model")] | Annotated[HourlyReference, Tag("hourly")],
        Discriminator(lambda given: "hourly" if isinstance(given, Mapping | HourlyReference) else "model"),
    ] = Field(
        default="model",
        description="What windows are held against: the statistics in the model's bundle, or `hour_of_week`, the same "
        "hour of earlier weeks of this deployment, once these are known.",
    )
    promise: Promise = Field(
        default_factory=Promise, description="How often the whole monitor may raise an alarm while nothing is wrong."
    )
    tolerance: ToleranceSpec = Field(
        default_factory=ToleranceSpec, description="How far features may move without being drift."
    )
    minimum: int = Field(
        default=100,
        ge=1,
        description="Rows that a judgement rests on at least; fewer are judged together with those of the next window.",
    )
    lateness: TimeSpan = Field(
        default=_span(30), description="How long after its end a window waits for what is still under way: `30s`."
    )
    silent: TimeSpan = Field(
        default=_span(15), description="How long a replica may say nothing before windows close without it: `15s`."
    )
    bounds: Bounds = Field(default_factory=Bounds, description="What harm is.")
    labels: Labels | None = Field(default=None, description="Where labels arrive; without it no answers are kept.")
    sample_payloads: int = Field(
        default=0, ge=0, le=10_000, description="Requests whose content is kept of each window and version; 0 for none."
    )

    @model_validator(mode="after")
    def _promise_can_be_kept(self) -> Self:
        try:
            self.promise.windows(self.window)
        except UsageError as error:
            raise ValueError(str(error).removeprefix("monitor.")) from error
        return self

    @property
    def hour_of_week(self) -> HourOfWeek | None:
        """How hours are learnt; None where windows are held against the model's reference alone."""
        return self.reference.hour_of_week if isinstance(self.reference, HourlyReference) else None

    @property
    def windows_between_alarms(self) -> float:
        """Windows from one false alarm to the next, on average, that are promised."""
        return self.promise.windows(self.window)

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.window.total_seconds()


def windows_together(window_s: float, stored_s: float) -> int:
    """How many stored windows make one of another policy.

    Raises:
        UsageError: the length is no multiple of that of the stored windows.
    """
    count = window_s / stored_s
    if count < 1 or not math.isclose(count, round(count)):
        raise UsageError(
            f"monitor.window: windows of {_span(window_s)} cannot be put together from the stored ones of "
            f"{_span(stored_s)}; allowed: a multiple of that"
        )
    return round(count)
