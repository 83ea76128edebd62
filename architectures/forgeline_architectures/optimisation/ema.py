"""Exponential moving average of a model's weights (Polyak & Juditsky 1992; decay as in Tan & Le 2019).

The averages are kept outside the module's buffers, since DDP would broadcast those at every step; they travel in the
checkpoint under `ema`. Floating buffers (batch norm's statistics) are averaged too, so that they fit the averaged
weights, as timm's ModelEmaV3 does; counters are copied.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Averaged weights of one model.

    Attributes:
        decay: share of the average kept per step.
        steps: updates so far.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.steps = 0
        self._averages: dict[str, Tensor] = {}
        self._same_as: dict[str, str] = {}  # tied weights have several names and are averaged once
        seen: dict[int, str] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            self._same_as[name] = seen.setdefault(id(tensor), name)
            if self._same_as[name] == name:
                self._averages[name] = tensor.detach().clone()
        self._kept: list[Tensor] | None = None  # the weights, while the averages stand in their place

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the weights as they are now.

        The decay warms up as min(decay, (1 + steps) / (10 + steps)) (TensorFlow's ExponentialMovingAverage), so that
        a short run does not keep its random start.
        """
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        averages, weights = self._pairs()
        floating = [index for index, average in enumerate(averages) if average.is_floating_point()]
        # Averages stay as they were made when the model is trained in half precision, which would swallow small moves.
        targets = [weights[i].to(averages[i].dtype) for i in floating]
        torch._foreach_lerp_([averages[i] for i in floating], targets, 1 - decay)
        for index in set(range(len(averages))) - set(floating):
            averages[index].copy_(weights[index])

    @torch.no_grad()
    def swap(self) -> None:
        """Put the averages in the place of the weights; a second call puts the weights back."""
        averages, weights = self._pairs()
        if self._kept is None:
            self._kept = [weight.clone() for weight in weights]
            source = averages
        else:
            source, self._kept = self._kept, None
        for weight, value in zip(weights, source, strict=True):
            weight.copy_(value)

    def averages(self) -> dict[str, Tensor]:
        """The averages under the names of the model's state dict."""
        return {name: self._averages[first] for name, first in self._same_as.items()}

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint needs: plain tensors and one number."""
        return {"steps": self.steps, "weights": self.averages()}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint."""
        steps, weights = state["steps"], state["weights"]
        assert isinstance(steps, int) and isinstance(weights, Mapping)
        self.steps = steps
        self._averages = {name: weights[name].clone() for name in self._averages}

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        current = self.model.state_dict()
        for name, average in self._averages.items():
            # The model may have been moved to its device after the averages were taken.
            if average.device != current[name].device:
                self._averages[name] = average.to(current[name].device)
        return list(self._averages.values()), [current[name] for name in self._averages]
