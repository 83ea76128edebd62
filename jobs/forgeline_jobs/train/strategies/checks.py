"""What a strategy and the saving of memory ask of the architecture, checked before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from forgeline.errors import SpecError

if TYPE_CHECKING:
    from forgeline.plugins import ArchitectureDescriptor
    from forgeline_architectures.descriptor import ArchitectureConfig
    from forgeline_jobs.train.spec import TrainSpec


def check_architecture(spec: TrainSpec, architecture: ArchitectureDescriptor) -> None:
    """Refuse to share out a model that cannot be; a plug-in of somebody else may not say so.

    Raises:
        SpecError: names the architecture's reason.
    """
    if not spec.strategy.shards:
        return
    why_not = getattr(architecture, "not_sharded", "")
    if getattr(architecture, "own_steps", False):
        why_not = "it steps two optimisers, each over a part of the weights"
    if why_not:
        raise SpecError(
            f"got {spec.strategy.name}; weights of {spec.architecture.name} are not shared out among workers "
            f"({why_not}): set it to ddp",
            key="strategy",
        )
    workers = spec.strategy.readers_share
    if workers == 1:
        return
    if getattr(architecture, "parallel", None) is None:
        raise SpecError(
            f"got {workers}; {spec.architecture.name} has no plan by which workers share matrices: set it to 1",
            key="strategy.tensor_parallel",
        )
    try:
        cast("ArchitectureConfig", spec.architecture).check_parallel(workers)
    except ValueError as error:
        raise SpecError(str(error), key="architecture") from error


def check_blocks(spec: TrainSpec, architecture: ArchitectureDescriptor) -> None:
    """Refuse to compute blocks twice where the family has none; whether the model has some, the model tells.

    Raises:
        SpecError: it names no blocks.
    """
    if spec.trainer.gradient_checkpointing and not getattr(architecture, "blocks", ()):
        raise no_blocks(spec)


def no_blocks(spec: TrainSpec) -> SpecError:
    """What to say of a model without repeated blocks."""
    return SpecError(
        f"got true; {spec.architecture.name} has no repeated blocks to compute twice: set it to false",
        key="trainer.gradient_checkpointing",
    )
