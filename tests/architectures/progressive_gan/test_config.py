"""When the progressive GAN grows, and which pictures it takes."""

from __future__ import annotations

from typing import Any

import pytest

from forgeline_architectures.progressive_gan.config import ProgressiveGANConfig
from forgeline_architectures.signature import Signature


def config(**settings: Any) -> ProgressiveGANConfig:
    return ProgressiveGANConfig.model_validate({"widths": [4, 4, 4], "stage_steps": 10, **settings})


def pictures(height: int, width: int) -> Signature:
    shape = (1, height, width)
    return Signature.model_validate(
        {"task": "generation", "inputs": {"image": {"shape": shape, "dtype": "float32"}}, "outputs": shape}
    )


def test_the_first_stage_is_there_in_full_and_later_ones_fade_in() -> None:
    found = [config(fade=0.4).growth(step) for step in range(30)]
    assert [stage for stage, _ in found] == [0] * 10 + [1] * 10 + [2] * 10
    assert [share for _, share in found[:10]] == [1.0] * 10
    for first in (10, 20):
        assert [share for _, share in found[first : first + 10]] == [0.25, 0.5, 0.75, *[1.0] * 7]


def test_the_last_stage_has_the_steps_that_are_left() -> None:
    assert config().growth(10_000) == (2, 1.0)


@pytest.mark.parametrize(("fade", "grown_at"), [(0.0, 20), (0.4, 24), (1.0, 30)])
def test_grown_is_when_the_share_is_whole(fade: float, grown_at: int) -> None:
    found = config(fade=fade)
    assert found.grown_at == grown_at and found.growth(grown_at - (fade > 0)) == (2, 1.0)
    if fade:
        assert found.growth(grown_at - 2).share < 1


def test_pictures_of_another_size_are_refused_with_both_sizes_and_the_keys() -> None:
    config().check(pictures(16, 16))
    for height, width in ((32, 32), (16, 8)):
        with pytest.raises(
            ValueError, match=rf"3 resolutions \(4, 8, 16 pixels\), .* 16x16; .*{height}x{width}.*data\.size"
        ):
            config().check(pictures(height, width))


def test_one_stage_is_none() -> None:
    with pytest.raises(ValueError, match="widths"):
        config(widths=[4])
