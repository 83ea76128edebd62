"""Beam search over any model that writes a target token by token, all rows of a batch and all their beams at once."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Numbers of the tokens that are no symbols, the same in every vocabulary of pairs.
PADDING, START, END = 0, 1, 2

State = TypeVar("State")


@runtime_checkable
class Writer(Protocol[State]):
    """What beam search needs of a model; a state holds one entry per row."""

    def begin(self, batch: Mapping[str, Tensor]) -> State:
        """The state before the first token of the targets."""

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits [rows, vocabulary] of the next token after reading tokens [rows], and the state then."""

    def select(self, state: State, rows: Tensor) -> State:
        """The states of some rows, one of them several times where `rows` [n] has it several times."""


@torch.no_grad()
def beam_search(
    model: Writer[State], batch: Mapping[str, Tensor], *, limit: int, beams: int, length_penalty: float
) -> Int[Tensor, "batch limit"]:
    """The likeliest target that is found for every row, filled up with padding behind its end token.

    Each step keeps the `beams` likeliest beginnings of a row; one that has ended stays as it is. Padding and the start
    token are never written. In the end they are
    ranked by log-probability over lp(Y) = ((5 + |Y|) / 6)^length_penalty (Wu et al. 2016, arXiv:1609.08144, equation
    14, without the coverage). One beam is greedy decoding.

    Args:
        model: in evaluation mode.
        batch: the sources.
        limit: most tokens of a target, the end token counted.
        beams: beginnings that are kept.
        length_penalty: 0 ranks by probability, which favours short targets; 1 by its mean per token, nearly.
    """
    state = model.begin(batch)
    rows = len(next(iter(batch.values())))
    device = next(iter(batch.values())).device
    state = model.select(state, torch.arange(rows, device=device).repeat_interleave(beams))
    # All beams of a row begin alike: only the first may be gone on with, or all of them would stay the same.
    scores = torch.full((rows, beams), -math.inf, device=device)
    scores[:, 0] = 0.0
    written = torch.full((rows, beams, limit), PADDING, dtype=torch.int64, device=device)
    ended = torch.zeros((rows, beams), dtype=torch.bool, device=device)
    newest = torch.full((rows, beams), START, dtype=torch.int64, device=device)
    for place in range(limit):
        logits, state = model.step(newest.flatten(), state)
        vocabulary = logits.shape[-1]
        token = torch.arange(vocabulary, device=device)
        written_never = (token == PADDING) | (token == START)
        log_probs = logits.float().masked_fill(written_never, -math.inf).log_softmax(-1).view(rows, beams, -1)
        only_padding = torch.zeros(vocabulary, device=device).masked_fill(token != PADDING, -math.inf)
        log_probs = torch.where(ended[..., None], only_padding, log_probs)
        scores, chosen = (scores[..., None] + log_probs).flatten(1).topk(beams, dim=1)
        parents, newest = chosen // vocabulary, chosen % vocabulary
        written = written.gather(1, parents[..., None].expand_as(written))
        written[:, :, place] = newest
        ended = ended.gather(1, parents) | (newest == END)
        if bool(ended.all()):
            break
        offsets = torch.arange(rows, device=device)[:, None] * beams
        state = model.select(state, (parents + offsets).flatten())
    ranked = scores / _length_penalty((written != PADDING).sum(-1), length_penalty)
    return written[torch.arange(rows, device=device), ranked.argmax(1)]


def _length_penalty(lengths: Int[Tensor, "batch beams"], exponent: float) -> Float[Tensor, "batch beams"]:
    return ((5.0 + lengths) / 6.0) ** exponent
