"""The loss of a language model over a split, without ever holding the logits of a whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from forgeline.errors import RunFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

IGNORED = -100
# 256 MiB of float32: at GPT-2's vocabulary a batch of 256 texts of 1,024 tokens would need 50 GiB at once.
LOGITS_AT_ONCE = 2**26


def language_loss(
    model: nn.Module,
    batches: Iterable[Mapping[str, NDArray[Any]]],
    *,
    device: str,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> float:
    """Mean cross-entropy per token in nats.

    Args:
        model: in evaluation mode, on `device`; with `hidden` and `logits` its head is applied piece by piece.
        batches: `tokens`, what qualifies them, and `target`, where -100 is not counted.
        device: of the model.
        logits_at_once: numbers that may exist at the same time, where the model lets its head be applied apart.

    Raises:
        RunFailed: there is no target at all.
    """
    import torch
    from torch.nn import functional as F

    head = getattr(model, "logits", None) if hasattr(model, "hidden") else None
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
            target = tensors.pop("target").flatten()
            count += int((target != IGNORED).sum())
            # Of a model without them, the logits themselves are cut: the loss makes a copy of what it is given.
            states: Any = (model(tensors) if head is None else getattr(model, "hidden")(tensors)).flatten(0, 1)  # noqa: B009
            size = max(1, logits_at_once // _vocabulary(model, states))
            for part, wanted in zip(states.split(size), target.split(size), strict=True):
                logits = (part if head is None else head(part)).float()
                total += float(F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum"))
    if not count:
        raise RunFailed("the split has no token to predict", reason="user_error")
    return total / count


def _vocabulary(model: nn.Module, states: Any) -> int:
    return int(getattr(model, "vocabulary", states.shape[-1]))
