"""PaLM's decoder: y = x + attention(norm(x)) + feed_forward(norm(x)) in every block, with one norm."""

from __future__ import annotations

from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.palm.config import PalmConfig
from forgeline_architectures.signature import Signature


class Palm(DecoderModel):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, config: PalmConfig, signature: Signature) -> None:
        super().__init__(config.design(signature))


def build_model(config: PalmConfig, signature: Signature) -> Palm:
    """The model with fresh weights."""
    return Palm(config, signature)
