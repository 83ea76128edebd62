"""Positions within documents, rotations against transformers', and T5's buckets of distances."""

from __future__ import annotations

import torch

from forgeline_architectures.decoder.positions import (
    RelativeBias,
    Rotation,
    distance_buckets,
    segment_mask,
    segment_positions,
)


def test_segment_positions_and_mask() -> None:
    segments = torch.tensor([[0, 0, 1, 1, 1], [4, 4, 4, 4, 7]])
    assert segment_positions(segments).tolist() == [[0, 1, 0, 1, 2], [0, 1, 2, 3, 0]]
    assert segment_mask(segments)[0, 0, 3].tolist() == [False, False, True, True, False]


def test_rotations_depend_on_distances_alone() -> None:
    query, key = torch.randn(2, 1, 1, 1, 8).double()

    def product(at_query: int, at_key: int) -> float:
        places = torch.tensor([[at_query], [at_key]])
        turned = [Rotation.at(place[None], 8, 100.0, torch.float64) for place in places]
        return (turned[0](query) * turned[1](key)).sum().item()

    assert abs(product(7, 3) - product(24, 20)) < 1e-5
    assert abs(product(7, 3) - product(7, 4)) > 1e-3
    assert abs(product(5, 5) - (query * key).sum().item()) < 1e-5


def test_buckets_equal_transformers() -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(400)
    theirs = T5Attention._relative_position_bucket(-distance, bidirectional=False, num_buckets=32, max_distance=128)
    assert torch.equal(distance_buckets(distance), theirs)


def test_relative_bias_hides_what_the_mask_hides() -> None:
    bias = RelativeBias(2)
    causal = bias.between(0, 4, None)
    assert causal.shape == (1, 2, 4, 4)
    assert torch.equal(causal.isfinite()[0, 0], torch.ones(4, 4, dtype=torch.bool).tril())
    assert torch.equal(bias.between(3, 1, None), causal[:, :, 3:]), "a step sees what the whole pass saw"
    masked = bias.between(0, 4, segment_mask(torch.tensor([[0, 0, 1, 1]])))
    assert masked[0, 1, 3].isfinite().tolist() == [False, False, True, True]
