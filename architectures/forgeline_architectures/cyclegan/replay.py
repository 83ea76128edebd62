"""Translations that a discriminator sees again, so that it does not forget what the generator made before.

Shrivastava et al. 2017 (arXiv:1612.07828, section 2.3), in the form of Zhu et al. 2017. The pictures are buffers of a
module: a checkpoint has them, and a resumed run goes on with the very ones that the uninterrupted run had. Each of
several workers has its own, for which `CycleGANModule` sees.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

SHOWN_AGAIN = 0.5


class Replay(nn.Module):
    """The newest pictures of a domain, mixed with older ones.

    Args:
        capacity: pictures that are kept; 0 for none.
        shape: of a picture.
    """

    pictures: Tensor
    filled: Tensor

    def __init__(self, capacity: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.zeros(capacity, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchanged(
        self, made: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """What the discriminator sees in the place of new pictures, one after the other.

        While there is room, a picture is kept and seen. Then one half is seen and not kept; each of the other half
        takes the place of a kept one, drawn at random, which is seen instead.
        """
        capacity = len(self.pictures)
        if not capacity:
            return made
        seen, filled = made.clone(), int(self.filled)
        again, slots = self._drawn(len(made), capacity)
        for row, picture in enumerate(made):
            if filled < capacity:
                self.pictures[filled] = picture
                filled += 1
            elif again[row]:
                seen[row] = self.pictures[slots[row]]
                self.pictures[slots[row]] = picture
        self.filled.fill_(filled)
        return seen

    @staticmethod
    def _drawn(count: int, capacity: int) -> tuple[list[bool], list[int]]:
        slots: Int[Tensor, " count"] = torch.randint(capacity, (count,))
        return (torch.rand(count) < SHOWN_AGAIN).tolist(), slots.tolist()
