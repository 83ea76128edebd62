"""A caption's tokens and then a picture's, in one row that a decoder goes on with: the zoo's own decoder.

The paper's decoder looks at rows, columns and neighbourhoods of the picture in turn, to save time on 1,024 tokens; this
one looks at everything before. Codes of pictures are numbered behind the words in one table of tokens.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.beam_search import START
from forgeline_architectures.dalle.codes import Codes
from forgeline_architectures.dalle.config import DalleConfig
from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.generation import Sampling, filtered
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.generation import check_options


class Written(NamedTuple):
    """Cross-entropy of each row, [batch], in nats per token.

    Attributes:
        text: of the caption, with what fills it up.
        picture: of the picture.
    """

    text: Tensor
    picture: Tensor


class Dalle(nn.Module):
    """Discrete autoencoder and decoder. Batches have `image` from -1 to 1 and `caption`."""

    def __init__(self, config: DalleConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.words = signature.conditions["caption"]
        self.places = config.side(signature) ** 2
        self.autoencoder = Codes(
            signature.outputs[0],
            config.codes,
            config.autoencoder_widths,
            config.autoencoder_blocks,
            likelihood=config.likelihood,
            smallest_scale=config.smallest_scale,
        )
        self.decoder = DecoderModel(config.design(signature))

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels height width"]:
        """Pictures of the likeliest token at each place, after the caption and the picture's own tokens before it."""
        _, logits = self.logits(batch["caption"], self.autoencoder.tokens(batch["image"]))
        return self.autoencoder.pictures(logits.argmax(-1))

    def logits(
        self, caption: Int[Tensor, "batch words"], tokens: Int[Tensor, "batch places"]
    ) -> tuple[Float[Tensor, "batch words vocabulary"], Float[Tensor, "batch places codes"]]:
        """Of every word and of every code, after what stands before it: words among words, codes among codes."""
        row = torch.cat([self._begun(caption), self.words + tokens[:, :-1]], dim=1)
        hidden = self.decoder.hidden({"tokens": row})
        table = self.decoder.tokens.weight
        length = caption.shape[1]
        text, picture = hidden[:, :length], hidden[:, length:]
        return F.linear(text, table[: self.words]), F.linear(picture, table[self.words :])

    def written(self, batch: Mapping[str, Tensor]) -> Written:
        """How likely captions and their pictures are to the decoder; no gradient reaches the autoencoder."""
        with torch.no_grad():
            tokens = self.autoencoder.tokens(batch["image"])
        caption = batch["caption"]
        losses = (
            F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape).mean(1)
            for logits, wanted in zip(self.logits(caption, tokens), (caption, tokens), strict=True)
        )
        return Written(*losses)

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Pictures of captions, their tokens drawn one after the other.

        Raises:
            ValueError: an option is none of `temperature`, `top_k` and `top_p`, or out of range.
        """
        sampling = self._sampling(options)
        caption = condition["caption"]
        cache = self.decoder.new_cache(torch.zeros(count, dtype=torch.int64, device=caption.device))
        newest, drawn = self._begun(caption), []
        for _ in range(self.places):
            logits = self.decoder.step(newest, cache)[:, self.words :].float()
            if sampling.temperature == 0:
                token = logits.argmax(-1, keepdim=True)
            else:
                probabilities = filtered(logits / sampling.temperature, sampling).softmax(-1)
                token = torch.multinomial(probabilities, 1, generator=generator)
            drawn.append(token)
            newest = self.words + token
        return self.autoencoder.pictures(torch.cat(drawn, dim=1))

    def _begun(self, caption: Int[Tensor, "batch words"]) -> Int[Tensor, "batch begun"]:
        """A caption behind the start token."""
        return torch.cat([torch.full_like(caption[:, :1], START), caption], dim=1)

    def _sampling(self, options: Mapping[str, Any]) -> Sampling:
        allowed = {
            "temperature": "0, the likeliest token, or more",
            "top_k": "a whole number of 1 or more",
            "top_p": "a number above 0, up to 1",
        }
        check_options(options, allowed)
        for name, value in options.items():
            kind = int if name == "top_k" else int | float
            if isinstance(value, bool) or not isinstance(value, kind):
                raise ValueError(f"option {name} is {value!r}; allowed: {allowed[name]}")
        return Sampling(**{"temperature": self.config.temperature, **options})


def build_model(config: DalleConfig, signature: Signature) -> Dalle:
    """The model with fresh weights."""
    return Dalle(config, signature)
