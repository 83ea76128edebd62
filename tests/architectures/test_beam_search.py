"""Beam search against going through every target."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from forgeline_architectures.beam_search import END, PADDING, START, beam_search

VOCABULARY, LIMIT, ROWS = 5, 4, 6


class Chain:
    """A model whose next token depends on the row and on the last two tokens; a state is (rows, token before)."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.logits = 2 * torch.randn(ROWS, VOCABULARY, VOCABULARY, VOCABULARY, generator=generator)

    def begin(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return batch["row"], torch.full_like(batch["row"], START)

    def step(self, tokens: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        rows, before = state
        return self.logits[rows, before, tokens], (rows, tokens)

    def select(self, state: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        return state[0][rows], state[1][rows]

    def log_probability(self, row: int, target: tuple[int, ...]) -> float:
        total, before, token = 0.0, START, START
        for following in target:
            total += float(self.logits[row, before, token, END:].log_softmax(-1)[following - END])
            before, token = token, following
        return total


def targets() -> list[tuple[int, ...]]:
    """All targets of at most LIMIT tokens: ended, or cut off by the limit."""
    symbols = range(END + 1, VOCABULARY)
    ended = [(*s, END) for n in range(LIMIT) for s in itertools.product(symbols, repeat=n)]
    return ended + list(itertools.product(symbols, repeat=LIMIT))


def search(model: Chain, beams: int, length_penalty: float = 0.0) -> list[tuple[int, ...]]:
    found = beam_search(model, {"row": torch.arange(ROWS)}, limit=LIMIT, beams=beams, length_penalty=length_penalty)
    assert found.shape == (ROWS, LIMIT)
    return [tuple(token for token in row if token != PADDING) for row in found.tolist()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_wide_enough_it_finds_the_likeliest_target(seed: int, length_penalty: float) -> None:
    model = Chain(seed)
    expected = [
        max(targets(), key=lambda t: model.log_probability(row, t) / ((5 + len(t)) / 6) ** length_penalty)
        for row in range(ROWS)
    ]
    assert search(model, beams=64, length_penalty=length_penalty) == expected


def test_one_beam_takes_the_likeliest_token() -> None:
    model = Chain(0)
    for row, found in enumerate(search(model, beams=1)):
        before, token = START, START
        for written in found:
            assert written == END + int(model.logits[row, before, token, END:].argmax())
            before, token = token, written
        assert found[-1] == END or len(found) == LIMIT


def test_more_beams_find_likelier_targets() -> None:
    def total(beams: int) -> float:
        found = [search(model, beams) for model in models]
        return sum(
            m.log_probability(row, t) for m, rows in zip(models, found, strict=True) for row, t in enumerate(rows)
        )

    models = [Chain(seed) for seed in range(10)]
    assert total(1) < total(4) <= total(64)


def test_a_higher_penalty_prefers_longer_targets() -> None:
    models = [Chain(seed) for seed in range(10)]
    short, long = (sum(len(t) for model in models for t in search(model, 64, penalty)) for penalty in (0.0, 3.0))
    assert short < long
