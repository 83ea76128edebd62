"""LaMDA's decoder, which answers by sample-and-rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.generation import Continuation, Sampling, generate_scored
from forgeline_architectures.lamda.config import LamdaConfig
from forgeline_architectures.signature import Signature

TOP_K = 40  # Thoppilan et al. 2022, section 3


class Lamda(DecoderModel):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, config: LamdaConfig, signature: Signature) -> None:
        super().__init__(config.design(signature))
        self.candidates = config.candidates

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        sampling: Sampling | Mapping[str, Any] | None = None,
    ) -> list[list[int]]:
        """The best of `candidates` continuations of each prompt; top-k of 40 where no sampling is given.

        Raises:
            ValueError: a prompt is empty, or holds a token that the model does not know.
        """
        if max_tokens < 1:
            return [[] for _ in prompts]
        chosen = Sampling(top_k=TOP_K) if sampling is None else Sampling.of(sampling)
        return [self.ranked(prompt, max_tokens=max_tokens, sampling=chosen)[0].tokens for prompt in prompts]

    def stream(
        self, prompt: Sequence[int], *, max_tokens: int, sampling: Sampling | Mapping[str, Any] | None = None
    ) -> Iterator[int]:
        """The tokens of `generate` for one prompt, all when the last is drawn: which candidate is best shows then."""
        yield from self.generate([prompt], max_tokens=max_tokens, sampling=sampling)[0]

    def ranked(self, prompt: Sequence[int], *, max_tokens: int, sampling: Sampling) -> list[Continuation]:
        """`candidates` continuations of a prompt, the likeliest per token first.

        Sample-and-rank of Adiwardana et al. 2020 (Meena, arXiv:2001.09977), with the length in the score as Thoppilan
        et al. 2022, section 3, say: independent draws, ranked by log-likelihood over length. The first draw is the one
        that plain sampling with the same seed makes.

        Raises:
            ValueError: the prompt is empty, holds an unknown token, or `max_tokens` is below 1.
        """
        drawn = generate_scored(self, [prompt] * self.candidates, max_tokens=max_tokens, sampling=sampling)
        return sorted(drawn, key=lambda continuation: -continuation.log_likelihood)


def build_model(config: LamdaConfig, signature: Signature) -> Lamda:
    """The model with fresh weights."""
    return Lamda(config, signature)
