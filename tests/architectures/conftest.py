"""Shapes in annotations are checked while these tests run: jaxtyping's import hook with beartype on the model modules.

The Lightning modules are left out: their tensors have no shapes in the annotations, and Lightning inspects signatures.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(
    [
        "forgeline_architectures.adversarial.equalised",
        "forgeline_architectures.attention_decoder",
        "forgeline_architectures.captioner.model",
        "forgeline_architectures.clip.model",
        "forgeline_architectures.clip.towers",
        "forgeline_architectures.bert.model",
        "forgeline_architectures.cnn.model",
        "forgeline_architectures.dbn.model",
        "forgeline_architectures.dalle.codes",
        "forgeline_architectures.dalle.model",
        "forgeline_architectures.dsn.model",
        "forgeline_architectures.cyclegan.model",
        "forgeline_architectures.cyclegan.replay",
        "forgeline_architectures.gan.model",
        "forgeline_architectures.decoder.attention",
        "forgeline_architectures.decoder.feed_forward",
        "forgeline_architectures.decoder.model",
        "forgeline_architectures.decoder.positions",
        "forgeline_architectures.diffusion.learning",
        "forgeline_architectures.diffusion.noise_schedule",
        "forgeline_architectures.diffusion.sampling",
        "forgeline_architectures.ddpm.model",
        "forgeline_architectures.beam_search",
        "forgeline_architectures.generation",
        "forgeline_architectures.gpt.model",
        "forgeline_architectures.imagen.model",
        "forgeline_architectures.latent_diffusion.model",
        "forgeline_architectures.progressive_gan.model",
        "forgeline_architectures.recurrent.model",
        "forgeline_architectures.seq2seq.model",
        "forgeline_architectures.stylegan2.layers",
        "forgeline_architectures.stylegan2.model",
        "forgeline_architectures.t5.model",
        "forgeline_architectures.transformer.model",
        "forgeline_architectures.vae.model",
        "forgeline_architectures.lenet.model",
        "forgeline_architectures.mlp.model",
        "forgeline_architectures.mpnn.model",
        "forgeline_architectures.node_network",
    ],
    "beartype.beartype",
)


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """These models are so small that handing work to threads takes longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
