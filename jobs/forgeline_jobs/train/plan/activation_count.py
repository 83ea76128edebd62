"""How many bytes a forward pass keeps for its backward pass, as a function of the samples in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationCount:
    """Two counts, and the line through them.

    Attributes:
        fewer: samples of the smaller count.
        fewer_bytes: its bytes.
        more: samples of the larger count.
        more_bytes: its bytes.
        how: how they were counted, in words.
    """

    fewer: int
    fewer_bytes: int
    more: int
    more_bytes: int
    how: str

    @property
    def per_sample(self) -> float:
        """Bytes of one more sample."""
        return (self.more_bytes - self.fewer_bytes) / (self.more - self.fewer)

    @property
    def fixed(self) -> int:
        """Bytes whatever the samples are: casts of the weights, above all."""
        return max(round(self.fewer_bytes - self.per_sample * self.fewer), 0)

    def of(self, samples: int) -> int:
        """Bytes of so many samples; exact for the two that were counted."""
        return round(self.fewer_bytes + self.per_sample * (samples - self.fewer))
