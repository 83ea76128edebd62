"""Text generation with any decoder: a cache of keys and values, and sampling with temperature, top-k and top-p.

Prompts of different lengths are generated together, padded on the left. Every row draws from a generator of its own,
seeded by (seed, row): within the context, a row gets the same tokens whatever stands in the others.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is drawn.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: draw among so many of the likeliest; None for all (Fan et al. 2018, arXiv:1805.04833).
        top_p: draw among the likeliest that together have this probability (Holtzman et al. 2020, arXiv:1904.09751).
        seed: of the draws.
        stop: token that ends a row; it is not returned.
    """

    temperature: int | float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:  # which NaN is not either
            raise ValueError(f"temperature must be at least 0 and finite, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    @classmethod
    def of(cls, settings: Sampling | Mapping[str, Any] | None) -> Sampling:
        """From a mapping of the fields, for callers that do not import this package; the defaults for None."""
        return settings if isinstance(settings, Sampling) else cls(**(settings or {}))


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What was generated after one prompt.

    Attributes:
        tokens: without the stop token.
        log_likelihood: mean over the drawn tokens, the stop token included, of the log-probability that the model
            itself gives them, before temperature, top-k and top-p; nats per token.
    """

    tokens: list[int]
    log_likelihood: float


@dataclass(kw_only=True)
class Cache:
    """Keys and values of the tokens read so far.

    Attributes:
        padding: tokens at the start of each row that are only filling.
        length: tokens read, filling included; counted up by the model once all layers have read.
    """

    layers: int
    heads: int
    head_width: int
    context: int
    padding: Int[Tensor, " batch"]
    dtype: torch.dtype
    length: int = 0
    _keys: list[Tensor] = field(init=False)
    _values: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(self.padding), self.heads, self.context, self.head_width)
        device = self.padding.device
        self._keys = [torch.zeros(shape, dtype=self.dtype, device=device) for _ in range(self.layers)]
        self._values = [torch.zeros(shape, dtype=self.dtype, device=device) for _ in range(self.layers)]
        self._padded = bool(self.padding.any())

    def extended(
        self,
        layer: int,
        key: Float[Tensor, "batch heads time head_width"],
        value: Float[Tensor, "batch heads time head_width"],
    ) -> tuple[Float[Tensor, "batch heads keys head_width"], Float[Tensor, "batch heads keys head_width"]]:
        """Add a layer's new keys and values; all of them so far."""
        end = self.length + key.shape[2]
        self._keys[layer][:, :, self.length : end] = key
        self._values[layer][:, :, self.length : end] = value
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def positions(self, time: int) -> Int[Tensor, "batch time"]:
        """Positions of the next tokens within their rows, the filling not counted."""
        index = torch.arange(self.length, self.length + time, device=self.padding.device)
        return (index - self.padding[:, None]).clamp(min=0)

    def mask(self, time: int) -> Bool[Tensor, "#batch 1 time keys"] | None:
        """What the next tokens may look at; None where that is everything so far, or plainly causal."""
        if not self._padded and (time == 1 or self.length == 0):
            return None
        device = self.padding.device
        query = torch.arange(self.length, self.length + time, device=device)[None, :, None]
        key = torch.arange(self.length + time, device=device)[None, None, :]
        visible = (key <= query) & (key >= self.padding[:, None, None])
        # Filling looks at itself: a row of the mask without any True would become NaN and spread from there.
        return (visible | (key == query)).unsqueeze(1)


@runtime_checkable
class Decoder(Protocol):
    """A model that can be read a few tokens at a time."""

    context: int
    vocabulary: int
    training: bool

    def new_cache(self, padding: Tensor) -> Cache: ...
    def step(self, tokens: Tensor, cache: Cache) -> Tensor: ...
    def train(self, mode: bool = True) -> object: ...
    def parameters(self) -> object: ...


@torch.inference_mode()
def generate(
    model: Decoder, prompts: Sequence[Sequence[int]], *, max_tokens: int, sampling: Sampling
) -> list[list[int]]:
    """New tokens for each prompt.

    A prompt longer than the context is read from its end. When the context is full, its newer half is read again and
    generation goes on from there: a learned position cannot be shifted inside the cache.

    Args:
        model: the decoder; put into eval mode meanwhile.
        prompts: token ids, at least one each.
        max_tokens: tokens to generate for each.

    Raises:
        ValueError: a prompt is empty, or holds a token that the model does not know.
    """
    if not prompts or max_tokens < 1:
        return [[] for _ in prompts]
    return _generated(model, prompts, max_tokens, sampling, scored=False).made()


@torch.inference_mode()
def stream(model: Decoder, prompt: Sequence[int], *, max_tokens: int, sampling: Sampling) -> Iterator[int]:
    """The very tokens of `generate` for one prompt, each as it is drawn.

    Args:
        model: the decoder; put into eval mode while the first token is asked for, and left there.
        prompt: token ids, at least one.
        max_tokens: tokens to generate.

    Raises:
        ValueError: as `generate`, when the first token is asked for.
    """
    _check_prompts([prompt], model.vocabulary)
    model.train(False)
    generation = _Generation(model, [prompt], sampling, scored=False)
    told = 0
    for _ in generation.steps(max_tokens):
        [made] = generation.made()
        yield from made[told:]
        told = len(made)


@torch.inference_mode()
def generate_scored(
    model: Decoder, prompts: Sequence[Sequence[int]], *, max_tokens: int, sampling: Sampling
) -> list[Continuation]:
    """The very tokens of `generate`, with what the model thinks of them; `max_tokens` is at least 1.

    Raises:
        ValueError: as `generate`, or `max_tokens` is below 1: nothing has no likelihood.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    if not prompts:
        return []
    done = _generated(model, prompts, max_tokens, sampling, scored=True)
    return [
        Continuation(tokens=tokens, log_likelihood=total / drawn)
        for tokens, total, drawn in zip(done.made(), done.log_likelihoods.tolist(), done.drawn, strict=True)
    ]


def _generated(
    model: Decoder, prompts: Sequence[Sequence[int]], max_tokens: int, sampling: Sampling, *, scored: bool
) -> _Generation:
    _check_prompts(prompts, model.vocabulary)
    was_training = model.training
    model.train(False)
    try:
        generation = _Generation(model, prompts, sampling, scored=scored)
        generation.run(max_tokens)
    finally:
        model.train(was_training)
    return generation


def _check_prompts(prompts: Sequence[Sequence[int]], vocabulary: int) -> None:
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {index} is empty; give at least one token")
        strange = [token for token in prompt if not 0 <= token < vocabulary]
        if strange:
            raise ValueError(f"prompt {index} holds the token {strange[0]}; the model knows 0 to {vocabulary - 1}")


class _Generation:
    """One call of `generate`."""

    def __init__(self, model: Decoder, prompts: Sequence[Sequence[int]], sampling: Sampling, *, scored: bool) -> None:
        self.model = model
        self.sampling = sampling
        self.scored = scored
        self.device = next(iter(model.parameters())).device  # type: ignore[call-overload]
        self.rows = [list(prompt) for prompt in prompts]
        self.starts = [len(row) for row in self.rows]
        self.ended = [False] * len(prompts)
        self.drawn = [0] * len(prompts)
        self.log_likelihoods = torch.zeros(len(prompts), dtype=torch.float64, device=self.device)
        self.generators = [
            torch.Generator(self.device).manual_seed((sampling.seed * 1_000_003 + row) % 2**63)
            for row in range(len(prompts))
        ]

    def made(self) -> list[list[int]]:
        """The new tokens of each row."""
        return [row[start:] for row, start in zip(self.rows, self.starts, strict=True)]

    def run(self, max_tokens: int) -> None:
        for _ in self.steps(max_tokens):
            pass

    def steps(self, max_tokens: int) -> Iterator[None]:
        """One token of each row that has not ended after the other."""
        cache, logits = self._read(self.model.context)
        for made in range(max_tokens):
            drawn = self._draw(logits)
            if self.scored:
                self._score(logits, drawn)
            tokens = drawn.tolist()
            for row, token in enumerate(tokens):
                self.ended[row] = self.ended[row] or token == self.sampling.stop
                if not self.ended[row]:
                    self.rows[row].append(token)
            yield
            if all(self.ended) or made + 1 == max_tokens:
                break
            if cache.length < self.model.context:
                logits = self.model.step(drawn[:, None], cache)
            else:
                cache, logits = self._read(max(self.model.context // 2, 1))

    def _score(self, logits: Float[Tensor, "batch vocabulary"], drawn: Int[Tensor, " batch"]) -> None:
        """Count the newest tokens of the rows that go on."""
        going = torch.tensor([not ended for ended in self.ended], device=self.device)
        chosen = logits.double().log_softmax(-1).gather(-1, drawn[:, None])[:, 0]
        self.log_likelihoods += torch.where(going, chosen, 0.0)
        self.drawn = [count + (not ended) for count, ended in zip(self.drawn, self.ended, strict=True)]

    def _read(self, limit: int) -> tuple[Cache, Tensor]:
        """A fresh cache that has read the last `limit` tokens of every row."""
        ends = [row[-limit:] for row in self.rows]
        longest = max(len(end) for end in ends)
        padding = [longest - len(end) for end in ends]
        tokens = [[0] * missing + end for missing, end in zip(padding, ends, strict=True)]
        cache = self.model.new_cache(torch.tensor(padding, device=self.device))
        return cache, self.model.step(torch.tensor(tokens, device=self.device), cache)

    def _draw(self, logits: Float[Tensor, "batch vocabulary"]) -> Int[Tensor, " batch"]:
        if self.sampling.temperature == 0:
            return logits.argmax(-1)
        probabilities = filtered(logits.float() / self.sampling.temperature, self.sampling).softmax(-1)
        drawn = [
            torch.multinomial(row, 1, generator=generator)
            for row, generator in zip(probabilities, self.generators, strict=True)
        ]
        return torch.cat(drawn)


def filtered(logits: Float[Tensor, "batch vocabulary"], sampling: Sampling) -> Float[Tensor, "batch vocabulary"]:
    """Logits with those outside top-k and top-p at minus infinity; the likeliest token always stays."""
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        kept = logits.topk(sampling.top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= sampling.top_p)
        logits = logits.masked_fill(outside, -torch.inf)
    return logits
