"""`retrain:` of a deployment's specification: when a model is trained again, how often at most, and on what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeline.errors import SpecError
from forgeline.ledger.once import ONCE
from forgeline.spec.loading import LoadedSpec, load
from forgeline.spec.units import TimeSpan
from forgeline_deploy.detection.spec import Rate

CHALLENGER, CHAMPION = "challenger", "champion"
KEY = "retrain.spec"


class RecentSamplesConfig(BaseModel):
    """Which labelled samples of the deployment a retraining takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: int = Field(default=200, ge=10, description="Labelled samples without which no retraining begins.")
    most: int = Field(default=20_000, ge=10, description="Newest labelled samples that are taken.")
    since: TimeSpan = Field(default=TimeSpan.parse("30d"), description="How far they go back.")
    val: float = Field(default=0.2, gt=0, lt=1, description="Share of them held out to choose and to be gated by.")
    test: float = Field(default=0.2, gt=0, lt=1, description="Share of them held out for the final result.")
    held_out: Literal["both", "recent"] = Field(
        default="both",
        description="What it is gated on: the held-out part of the original data and these, or of these.",
    )

    @model_validator(mode="after")
    def _crosses(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least} is above most {self.most}; raise most")
        if self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val} and test {self.test} leave nothing to train on; their sum must be below 1"
            )
        return self

    def block(self, path: Path) -> dict[str, Any]:
        """What stands under `data.recent` of the training."""
        return {"path": str(path), "val": self.val, "test": self.test, "held_out": self.held_out}


class RetrainConfig(BaseModel):
    """Training again, by itself or with a person's consent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: dict[str, Any] = Field(description="The training: a YAML file of kind train, or what stands in it.")
    when: Literal["harm", "drift"] = Field(
        default="harm", description="After alarms that mean harm only, or after those of drift as well."
    )
    at_most: Rate = Field(default=Rate.parse("1 per 7d"), description="How many in a time, such as `1 per 7d`.")
    cooldown: TimeSpan = Field(
        default=TimeSpan.parse("12h"), description="Time from the end of one, or a refusal, to the next wish."
    )
    approve: Literal["auto", "person"] = Field(
        default="person", description="Whether it begins by itself (`auto`), or once a person has approved it."
    )
    data: RecentSamplesConfig = Field(
        default=RecentSamplesConfig(), description="Which labelled samples of the deployment it takes."
    )


def check_retraining(config: RetrainConfig, model: str) -> None:
    """See that the training could begin, before the deployment does.

    Args:
        model: name of the registered model that is deployed.

    Raises:
        SpecError: what is wrong, with the key.
    """
    training(config, model=model, recent=Path("recent.parquet"), once="check")


def training(config: RetrainConfig, *, model: str, recent: Path, once: str) -> LoadedSpec:
    """The specification of a retraining: as it is written, with the recent samples, registered as challenger.

    Args:
        model: name of the registered model that is deployed.
        recent: file of the labelled samples.
        once: names this retraining; it cannot begin twice.

    Raises:
        SpecError: it is no training, of another model, has no gate against the champion, or its data take no samples.
    """
    try:
        written = load(config.spec).spec
        plain = written.resolved()
        _check(plain, model)
        register = {**plain["register"], "alias": CHALLENGER}
        labels = {**written.labels, ONCE: once}
        data = {**plain["data"], "recent": config.data.block(recent)}
        return load({**plain, "register": register, "labels": labels, "data": data})
    except SpecError as error:
        key = f"{KEY}.{error.key}" if error.key and not error.key.startswith(KEY) else error.key or KEY
        raise SpecError(error.message, key=key, others=error.others) from error


def _check(plain: Mapping[str, Any], model: str) -> None:
    if plain["kind"] != "train":
        raise SpecError(f"got {plain['kind']!r}; a retraining is of kind train", key="kind")
    register = plain.get("register")
    if register is None:
        raise SpecError(f"is missing; a retraining registers its model: add `register: {{model: {model}, gate: …}}`",
                        key="register")  # fmt: skip
    if register["model"] != model:
        raise SpecError(f"got {register['model']!r}; the model that is deployed is {model!r}", key="register.model")
    if not any(condition.get("beats") == CHAMPION for condition in _conditions(register.get("gate"))):
        raise SpecError(
            "holds nothing against the champion; a retrained model must beat it: add `beats: champion`",
            key="register.gate",
        )


def _conditions(gate: Any) -> Iterable[Mapping[str, Any]]:
    """A gate's conditions, whether it is one or a list."""
    found = gate if isinstance(gate, list) else [gate]
    return [each for each in found if isinstance(each, Mapping)]
