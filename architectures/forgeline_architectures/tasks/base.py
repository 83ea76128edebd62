"""What the Lightning modules of all tasks share: optimiser, schedule, frozen layers, averaged weights, gradient norm.

Unusual: nothing is logged from in here. `self.log` costs more than a small model's step, so the module only keeps
`last_gradient_norm` for callbacks to read when they want to.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from forgeline_architectures.optimisation.adapters import Adapter
from forgeline_architectures.optimisation.ema import ExponentialMovingAverage
from forgeline_architectures.optimisation.optimisers import build_optimizer
from forgeline_architectures.optimisation.options import AdapterConfig, TrainingOptions
from forgeline_architectures.optimisation.parameters import freeze, frozen_norms
from forgeline_architectures.optimisation.schedules import build_scheduler
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.lightning_import import LightningModule

Batch = Mapping[str, Tensor]
MODEL_PREFIX = "model."


class Evaluated(TypedDict):
    """What a validation step returns.

    `outputs` are probabilities for classification, standardised predictions for regression and forecasting, and None
    for language models and generators, as is `target` then. `parts` are further sums over the samples, by the name of
    the metric that their mean is.
    """

    loss_sum: Tensor
    count: Tensor
    outputs: Tensor | None
    target: Tensor | None
    parts: NotRequired[Mapping[str, Tensor]]


class TaskModule(LightningModule):
    """A model with its loss, optimiser and schedule.

    Attributes:
        model: the family's model; its state dict is what a bundle stores.
        signature: what the data promised.
        options: optimiser, schedule, smoothing, averaging, freezing.
        last_gradient_norm: global L2 norm before clipping at the newest optimizer step, None before the first.
        parts: what else the newest batch was measured by, name -> scalar; the step log writes it as `train/NAME`.
        ema: averaged weights, None where the options ask for none.
        adapter: low-rank matrices beside frozen layers, None where the layers themselves are trained.
        called: methods of the model that a step calls in the place of `forward`, if the model has them.
    """

    called: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__()
        self.model = model
        self.signature = signature
        self.options = options
        self.last_gradient_norm: Tensor | None = None
        self.adapter: Adapter | None = None
        self.parts: dict[str, Tensor] = {}
        freeze(model, options.freeze)
        self._settle()

    def _settle(self) -> None:
        """Hold the norms of what is frozen, and begin the averages, whenever the model is another one."""
        self._held = frozen_norms(self.model)
        for layer in self._held:  # Lightning keeps each layer's mode, and calls `train` only after it called `eval`
            layer.eval()
        ema = self.options.ema
        self.ema = None if ema is None else ExponentialMovingAverage(self.model, ema)

    def start_from(self, weights: Mapping[str, Tensor], *, fresh: Collection[str] = ()) -> None:
        """Take over the weights of a model of the same names, before the first step.

        Args:
            weights: a state dict.
            fresh: names of the weights that stay as they are.

        Raises:
            ValueError: names or shapes differ.
        """
        kept = {name: tensor for name, tensor in self.model.state_dict().items() if name in fresh}
        taken = {name: tensor for name, tensor in weights.items() if name not in kept}
        try:
            self.model.load_state_dict({**kept, **taken})
        except RuntimeError as error:
            raise ValueError(f"the weights do not fit the model: {error}") from error
        self._settle()

    def adapt(self, config: AdapterConfig, *, trained: Collection[str] = ()) -> None:
        """Train adapters in the place of the model's own layers; call it before the first step.

        Args:
            config: which layers, and how.
            trained: names in the state dict of what is trained whole unless the config names others.

        Raises:
            ValueError: a pattern names nothing that can be adapted.
        """
        self.adapter = Adapter(self.model, config, trained=trained)
        self._settle()

    def merge_adapter(self) -> None:
        """Add what the adapters learnt to the model's own weights; it has its old names again, and no adapter."""
        if self.adapter is not None:
            self.adapter.merge()
            self.adapter = None

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch, over samples or tokens."""
        raise NotImplementedError

    @abstractmethod
    def evaluated(self, batch: Batch) -> Evaluated:
        """Summed loss, count, and what metrics are computed from."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """The model's raw output."""
        return cast(Tensor, self.model(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Evaluated:
        return self.evaluated(batch)

    def compile_model(self) -> None:
        """Compile what a step calls."""
        self.model.compile()
        for name in self.called:
            if hasattr(self.model, name):
                setattr(self.model, name, torch.compile(getattr(self.model, name)))

    def configure_optimizers(self) -> Any:
        # Fused kernels unscale 16-bit gradients inside the step, where they can no longer be clipped.
        scaled = self._trainer is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = build_optimizer(self.model, self.options, fused=not scaled)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler_of(optimizer), "interval": "step"}}

    def scheduler_of(self, optimizer: Optimizer) -> LambdaLR:
        """The course of the learning rate over the run."""
        return build_scheduler(optimizer, self.options.optimizer, self.options.total_steps)

    def train(self, mode: bool = True) -> TaskModule:
        super().train(mode)
        for module in self._held:
            module.eval()
        return self

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the global norm where asked, and keep the norm: one pass over the gradients serves both."""
        self.last_gradient_norm = clipped(self.model, gradient_clip_val)

    def moved(self) -> None:
        """Called after every optimizer step, on every worker alike: a task may hold weights within bounds."""

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.moved()
        if self.ema is not None:
            self.ema.update()

    def on_validation_epoch_start(self) -> None:
        if self.ema is not None:
            self.ema.swap()

    def on_validation_epoch_end(self) -> None:
        if self.ema is not None:
            self.ema.swap()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.ema is not None:
            checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.ema is not None:
            if "ema" not in checkpoint:
                raise ValueError(
                    "the checkpoint has no averaged weights; it was written without trainer.ema: remove it"
                )
            self.ema.load_state_dict(checkpoint["ema"])


def deployed_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to deploy out of a checkpoint's content, under the names of the model."""
    if "ema" in checkpoint:
        return dict(checkpoint["ema"]["weights"])
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    return {name.removeprefix(MODEL_PREFIX): state[name] for name in state if name.startswith(MODEL_PREFIX)}


def clipped(model: nn.Module, limit: float | None) -> Tensor:
    """The global norm of a model's gradients, which are scaled down to `limit` where one is given.

    Weights may be shared out among workers, some among more of them than others.
    """
    by_mesh: dict[DeviceMesh | None, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.grad is not None:
            mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
            by_mesh.setdefault(mesh, []).append(parameter)
    if not by_mesh:
        return torch.tensor(0.0)
    norms = [_norm(parameters) for parameters in by_mesh.values()]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    if limit:
        for parameters in by_mesh.values():
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    """Of the gradients of parameters that are all shared out among the same workers."""
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None]).detach()
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def count_of(batch_size: int, like: Tensor) -> Tensor:
    """A count on the device of `like`, so that it can be reduced together with a loss."""
    return torch.tensor(float(batch_size), device=like.device)
