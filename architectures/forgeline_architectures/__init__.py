"""What is trained: one folder per family of models, Lightning modules by task, and optimisation.

Importing this package costs no torch: a family is described by an `Architecture`, and its model is imported when it
is built. A user's own package adds a family by registering its `Architecture` under `forgeline.architectures`.
"""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture, ArchitectureConfig
from forgeline_architectures.optimisation.options import OptimizerConfig, TrainingOptions
from forgeline_architectures.signature import Signature, TensorSpec

__all__ = [
    "Architecture",
    "ArchitectureConfig",
    "OptimizerConfig",
    "Signature",
    "TensorSpec",
    "TrainingOptions",
]
