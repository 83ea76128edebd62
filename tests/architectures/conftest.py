"""Shapes in annotations are checked while these tests run: jaxtyping's import hook with beartype on the model modules.

The Lightning modules are left out: their tensors have no shapes in the annotations, and Lightning inspects signatures.
"""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(
    [
        "forgeline_architectures.cnn.model",
        "forgeline_architectures.generation",
        "forgeline_architectures.gpt.model",
        "forgeline_architectures.lstm.model",
        "forgeline_architectures.mlp.model",
    ],
    "beartype.beartype",
)
