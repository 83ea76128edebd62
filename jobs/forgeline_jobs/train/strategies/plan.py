"""What a strategy asks of a family: its models' blocks, and how workers share their matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast

from forgeline_architectures.blocks import repeated_blocks

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh

    from forgeline.plugins import ArchitectureDescriptor
    from forgeline_architectures.descriptor import Architecture


class Plan(Protocol):
    """What is known of a family's models."""

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        """The repeated blocks of a model, none where it has none."""

    def share_matrices(self, model: nn.Module, mesh: DeviceMesh) -> Mapping[str, Tensor]:
        """As `Architecture.share_matrices`."""


class FamilyPlan:
    """What a descriptor says; that of somebody else may say nothing.

    Args:
        family: the descriptor.
    """

    def __init__(self, family: ArchitectureDescriptor) -> None:
        self._family = family

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        return repeated_blocks(model, getattr(self._family, "blocks", ()))

    def share_matrices(self, model: nn.Module, mesh: DeviceMesh) -> Mapping[str, Tensor]:
        return cast("Architecture", self._family).share_matrices(model, mesh)
