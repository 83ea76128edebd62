"""What a forward pass keeps for its backward pass, counted with autograd's saved-tensor hooks on the real module.

The pass runs on fake tensors: shapes, types and storages as on the device, no memory and no arithmetic. A tensor counts
once however often it is saved, by its storage; weights and buffers do not. For a GPU two operations are the GPU's:
attention is fused and keeps no mask of dropout, and dropout keeps a mask of one byte a number.

A module whose step needs numbers (it looks at values, or steps optimisers of its own) is trained for one real step on
the CPU instead, where it is small enough, and what it holds at once is counted.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from forgeline_jobs.train.plan.activation_count import ActivationCount

if TYPE_CHECKING:
    from forgeline_architectures.tasks.base import TaskModule

Arithmetic = Literal["full", "cast", "half"]
"""float32; autocast to 16 bits; weights and inputs of 16 bits."""

MakeBatch = Callable[[int], Mapping[str, Tensor]]

LARGEST_REAL = 50_000_000
"""Parameters up to which a model is trained for a real step to count what it keeps: some 0.8 GB with Adam."""


class KeptStorages:
    """Counts the storages that autograd holds, now and at most.

    Args:
        own: tensors that are there anyway.

    Attributes:
        now: bytes held now.
        most: bytes held at once.
    """

    def __init__(self, own: Mapping[str, Tensor]) -> None:
        self.now = 0
        self.most = 0
        self._own = {tensor.untyped_storage()._cdata for tensor in own.values()}
        self._holders: dict[int, int] = {}

    def hooks(self) -> AbstractContextManager[Any]:
        """Count what is saved inside."""
        return saved_tensors_hooks(self._pack, lambda held: held.tensor)

    def _pack(self, tensor: Tensor) -> _Held:
        # Detached: an output that its own node keeps would never be given free.
        return _Held(self, tensor.detach())

    def take(self, tensor: Tensor) -> int | None:
        """Count a tensor's storage; returns its key, None for one that is not counted."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # a sparse tensor has no storage
            return None
        key = int(storage._cdata)
        if key in self._own:
            return None
        self._holders[key] = self._holders.get(key, 0) + 1
        if self._holders[key] == 1:
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
        return key

    def give(self, key: int, size: int) -> None:
        """Autograd has let go of a tensor."""
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self.now -= size


class _Held:
    """A saved tensor; it is no longer counted when autograd lets go of it."""

    def __init__(self, kept: KeptStorages, tensor: Tensor) -> None:
        self.tensor = tensor
        self._kept = kept
        self._key = kept.take(tensor)
        self._size = 0 if self._key is None else tensor.untyped_storage().nbytes()

    def __del__(self) -> None:
        if self._key is not None:
            self._kept.give(self._key, self._size)


class _AsOnGpu(TorchFunctionMode):
    """Attention and dropout as a GPU's kernels do them; the rest saves the same tensors everywhere."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            # Its masks are drawn again from the seed in the backward pass.
            if len(args) > 4:
                args = (*args[:4], 0.0, *args[5:])
            else:
                given["dropout_p"] = 0.0
            return func(*args, **given)
        if func is F.dropout and not given.get("inplace", args[3] if len(args) > 3 else False):
            share = given.get("p", args[1] if len(args) > 1 else 0.5)
            training = given.get("training", args[2] if len(args) > 2 else True)
            if training and 0 < share < 1:
                return torch.native_dropout(args[0] if args else given["input"], share, True)[0]
        return func(*args, **given)


def count(
    module: TaskModule,
    batch: MakeBatch,
    *,
    arithmetic: Arithmetic,
    half: torch.dtype,
    gpu: bool,
    samples: tuple[int, int],
) -> ActivationCount:
    """Count with fewer and with more samples, on fake tensors.

    Args:
        module: on the meta device; its tensors are replaced.
        batch: makes a batch of so many samples.
        arithmetic: of the pass.
        half: which 16 bits.
        gpu: whether for a GPU.
        samples: of the two counts.

    Raises:
        RuntimeError: (or whatever the module raises) its step needs numbers.
    """
    if arithmetic == "half":
        module.to(half)
    with FakeTensorMode(allow_non_fake_inputs=True):
        _fake(module)
        module.train()
        fewer, more = (_one_pass(module, batch, size, arithmetic=arithmetic, half=half, gpu=gpu) for size in samples)
    return ActivationCount(
        fewer=samples[0],
        fewer_bytes=fewer,
        more=samples[1],
        more_bytes=more,
        how="saved tensors of a forward pass on fake tensors",
    )


def _one_pass(
    module: TaskModule, batch: MakeBatch, samples: int, *, arithmetic: Arithmetic, half: torch.dtype, gpu: bool
) -> int:
    given = {name: torch.empty_like(tensor, device="cpu") for name, tensor in batch(samples).items()}
    if arithmetic == "half":
        given = {name: tensor.to(half) if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    kept = KeptStorages({**dict(module.named_parameters()), **dict(module.named_buffers())})
    cast = torch.autocast("cpu", dtype=half) if arithmetic == "cast" else nullcontext()
    with kept.hooks(), cast, _AsOnGpu() if gpu else nullcontext():
        loss: Any = module.training_step(given, 0)
    if not (isinstance(loss, Tensor) and loss.requires_grad):
        raise RuntimeError("the step gives no loss to go back from")
    return kept.most


def _fake(module: nn.Module) -> None:
    """Give every tensor of the module a fake storage of the CPU, one for those that are tied."""
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            fresh = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            learnt = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(fresh, requires_grad=tensor.requires_grad) if learnt else fresh
        return made[id(tensor)]

    for each in module.modules():
        for tensors in (each._parameters, each._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)  # type: ignore[assignment]  # a parameter for a parameter


def count_real(module: TaskModule, batch: MakeBatch, *, precision: str, samples: tuple[int, int]) -> ActivationCount:
    """Count what one real step on the CPU holds at once, its backward passes included.

    Args:
        module: with numbers; it is trained for two steps.
        batch: makes a batch of so many samples.
        precision: of the trainer.
        samples: of the two counts.
    """
    fewer, more = (_one_step(module, batch(size), precision=precision) for size in samples)
    return ActivationCount(
        fewer=samples[0],
        fewer_bytes=fewer,
        more=samples[1],
        more_bytes=more,
        how="saved tensors of a step on the CPU",
    )


def _one_step(module: TaskModule, batch: Mapping[str, Tensor], *, precision: Any) -> int:
    from forgeline_architectures.tasks.lightning_import import SingleDeviceStrategy, Trainer

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it says which devices it does not use
    kept = KeptStorages({**dict(module.named_parameters()), **dict(module.named_buffers())})
    trainer = Trainer(
        strategy=SingleDeviceStrategy(device="cpu"),
        accelerator="cpu",
        devices=1,
        precision=precision,
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with kept.hooks(), warnings.catch_warnings(action="ignore"):
        trainer.fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]  # a list is a data set
    return kept.most
