"""What a spec says of its strategy: a plain name, or a name with settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

NAMES = ("ddp", "fsdp", "deepspeed", "auto")


class _Strategy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def readers_share(self) -> int:
        """Workers that share each matrix, and so read the same samples."""
        return 1

    @property
    def shards(self) -> bool:
        """Whether a worker holds a part of the weights or of the optimizer's state, and not all of them."""
        return True


class DDPConfig(_Strategy):
    """Every worker has the whole model; gradients are averaged (Li et al. 2020, arXiv:2006.15704)."""

    name: Literal["ddp"] = "ddp"

    @property
    def shards(self) -> bool:
        return False


class FSDPConfig(_Strategy):
    """Weights, gradients and optimizer state are shared out block by block (Zhao et al. 2023, arXiv:2304.11277)."""

    name: Literal["fsdp"]
    tensor_parallel: int = Field(
        default=1, ge=1, description="Workers that share each block's matrices, and read the same samples."
    )

    @property
    def readers_share(self) -> int:
        return self.tensor_parallel


class OffloadConfig(BaseModel):
    """What is kept off the GPU (Rajbhandari et al. 2021, arXiv:2104.07857)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["cpu", "nvme"] | None = Field(
        default=None, description="Where the optimizer's state and the weights in float32 are kept and moved."
    )
    parameters: Literal["cpu", "nvme"] | None = Field(
        default=None, description="Where weights wait for their turn; needs `zero_stage: 3`."
    )
    path: str | None = Field(default=None, description="Folder on a fast local disk, for `nvme`.")

    @property
    def uses_nvme(self) -> bool:
        """Whether anything is kept on a disk."""
        return "nvme" in (self.optimizer, self.parameters)

    @field_validator("path")
    @classmethod
    def _folder_from_anywhere(cls, value: str | None) -> str | None:
        """Made absolute: workers run in folders of their own."""
        return None if value is None else str(Path(os.path.expanduser(value)).absolute())  # noqa: PTH111

    @model_validator(mode="after")
    def _folder_fits(self) -> Self:
        if self.uses_nvme and self.path is None:
            raise ValueError("nvme needs a folder to write to; set path to one on a fast local disk")
        if self.path is not None and not self.uses_nvme:
            raise ValueError(
                f"path {self.path!r} is for nvme, which neither optimizer nor parameters asks for: remove it"
            )
        return self


class DeepSpeedConfig(_Strategy):
    """ZeRO shares out optimizer state, then gradients, then weights (Rajbhandari et al. 2020, arXiv:1910.02054)."""

    name: Literal["deepspeed"]
    zero_stage: Literal[1, 2, 3] = Field(
        default=2, description="Shared out: 1 the optimizer's state, 2 gradients too, 3 weights too."
    )
    offload: OffloadConfig = Field(default_factory=OffloadConfig, description="What is kept off the GPU.")

    @model_validator(mode="after")
    def _stage_fits(self) -> Self:
        if self.offload.parameters is not None and self.zero_stage < 3:
            raise ValueError(
                f"offload.parameters {self.offload.parameters} needs zero_stage 3, where weights are shared out, and "
                f"zero_stage is {self.zero_stage}; set strategy.zero_stage to 3, or remove strategy.offload.parameters"
            )
        if self.offload.optimizer == "nvme" and self.zero_stage < 3:
            raise ValueError(
                f"offload.optimizer nvme needs zero_stage 3 and zero_stage is {self.zero_stage}; set "
                "strategy.zero_stage to 3, or strategy.offload.optimizer to cpu"
            )
        return self


class AutoConfig(_Strategy):
    """One of the others, chosen when the run starts, by the memory of the device that it starts on."""

    name: Literal["auto"]

    @property
    def shards(self) -> bool:
        """Not known yet: nothing is asked of the run that only some strategies ask."""
        return False


def _named(value: object) -> object:
    """A plain name is a strategy without settings."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict) and value.get("name") not in NAMES:
        raise ValueError(f"got {value.get('name')!r}; known are {', '.join(NAMES)}")
    return value


StrategyConfig = Annotated[
    DDPConfig | FSDPConfig | DeepSpeedConfig | AutoConfig, Field(discriminator="name"), BeforeValidator(_named)
]


def check_run(strategy: StrategyConfig, *, trainer: Any, gpus_per_worker: float, adapter: bool) -> None:
    """Hold a strategy against the device and the options of a run.

    Args:
        strategy: of the run.
        trainer: the spec's `trainer` block.
        gpus_per_worker: GPUs of each worker.
        adapter: whether adapters are trained beside frozen layers.

    Raises:
        ValueError: it does not take one of them; names the key to change.
    """
    name, gpu = strategy.name, gpus_per_worker > 0
    if isinstance(strategy, DeepSpeedConfig) and strategy.offload.uses_nvme and not gpu:
        raise ValueError(
            "strategy.offload nvme needs a GPU and resources.gpus_per_worker is 0; ask for a GPU, or remove "
            "strategy.offload"
        )
    if isinstance(strategy, FSDPConfig) and trainer.precision == "16-mixed":
        raise ValueError(
            "strategy fsdp scales no loss, which trainer.precision 16-mixed needs; set trainer.precision to "
            "bf16-mixed, or strategy to ddp or deepspeed"
        )
    if not strategy.shards:
        return
    if trainer.ema is not None:
        raise ValueError(
            f"strategy {name} averages no weights and trainer.ema is {trainer.ema}; remove trainer.ema, or set "
            "strategy to ddp"
        )
    if trainer.compile:
        raise ValueError(
            f"strategy {name} fetches weights while the model runs, which is not compiled; set trainer.compile to "
            "false, or strategy to ddp"
        )
    if adapter:
        raise ValueError(
            f"strategy {name} takes no adapters, whose few weights leave nothing to share out; remove "
            "fine_tune.adapter, or set strategy to ddp"
        )
