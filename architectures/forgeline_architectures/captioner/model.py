"""A timm network's last map of features, before the shared attention decoder.

The cells of the map are what the attention looks at (the annotation vectors of Xu et al. 2015, section 3.1.1), or the
tokens of a vision transformer. A learned vector says where in the picture each lies: features alone do not.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from forgeline_architectures.attention_decoder import AttentionDecoder, DecoderState
from forgeline_architectures.captioner.config import CaptionerConfig
from forgeline_architectures.cnn.model import ImageNetwork
from forgeline_architectures.cnn.model import build_model as build_encoder
from forgeline_architectures.cnn.model import build_pretrained as build_pretrained_encoder
from forgeline_architectures.signature import Signature


class Captioner(AttentionDecoder):
    """Image encoder, recurrent decoder, attention. `forward` takes `image` and `previous`."""

    def __init__(self, config: CaptionerConfig, signature: Signature, encoder: ImageNetwork) -> None:
        super().__init__(
            vocabulary=signature.outputs[0],
            limit=signature.inputs["previous"].shape[0],
            **config.model_dump(exclude={"name", "encoder"}),
        )
        self.encoder = encoder
        network = cast(Any, encoder.network)
        network.reset_classifier(0)  # what is never used has no gradient, which DDP waits for
        self.cell = config.cell
        self.features: int = network.num_features
        self.seen = nn.Linear(self.features, config.hidden)
        parts = self._count_parts(signature.inputs["image"].shape)
        self.places = nn.Parameter(torch.empty(parts, config.hidden))
        nn.init.normal_(self.places, std=0.02)  # as vision transformers begin theirs: Dosovitskiy et al. 2021's code

    def translate(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch limit"]:
        """The caption that beam search finds for each picture."""
        return self.search({"image": batch["image"]})

    def begin(self, batch: Mapping[str, Tensor]) -> DecoderState:
        """The picture seen, and the decoder's first state, from the mean of its parts: Xu et al., section 3.1.2."""
        states = self.seen(self.parts(batch)) + self.places
        first = torch.tanh(self.bridge(states.mean(1))).expand(self.layers, -1, -1)
        first = first.contiguous()
        recurrent = (first, first.clone()) if self.cell == "lstm" else (first,)
        padding = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
        return DecoderState(recurrent, self.remembered(states, padding))

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch features"]:
        """Mean of the encoder's features over a picture's parts: an embedding of each picture."""
        return self.parts(batch).mean(1)

    def parts(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch parts features"]:
        """The encoder's features: cells row by row, or tokens with the class's first."""
        out: Tensor = cast(Any, self.encoder.network).forward_features(self.encoder.picture(batch))
        if out.ndim == 3:
            return out
        # timm's networks have their channels second, those with windowed attention last.
        return out.flatten(2).transpose(1, 2) if out.shape[1] == self.features else out.flatten(1, 2)

    @torch.no_grad()
    def _count_parts(self, shape: tuple[int, ...]) -> int:
        """Parts of a picture, from an empty one; no statistics are kept of it."""
        self.encoder.eval()
        parts = self.parts({"image": torch.zeros(1, *shape)}).shape[1]
        self.encoder.train()
        return parts


def build_model(config: CaptionerConfig, signature: Signature) -> Captioner:
    """The model with fresh weights.

    Raises:
        ValueError: timm refuses the encoder's options, or its stem does not fit.
    """
    return Captioner(config, signature, build_encoder(config.encoder, signature))


def build_pretrained(config: CaptionerConfig, signature: Signature) -> Captioner:
    """The model with the trained encoder that the config asks for.

    Raises:
        ValueError: there are no such weights, or they do not fit.
    """
    return Captioner(config, signature, build_pretrained_encoder(config.encoder, signature))
