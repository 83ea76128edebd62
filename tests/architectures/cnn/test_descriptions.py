"""What is told of timm's models: every pattern is of a model that there is, and the figures are those measured."""

from __future__ import annotations

import re

import pytest

from forgeline_architectures.cnn import ARCHITECTURE
from forgeline_architectures.cnn.config import names
from forgeline_architectures.cnn.descriptions import TABLE, description
from forgeline_architectures.measurements import Measurement

PUBLISHED = [row for row in ARCHITECTURE.measurements() if row.spec is None]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.model)
def test_parameters_are_the_measured_ones(row: Measurement) -> None:
    told = description(row.model)
    assert told in TABLE.values()
    if f"{row.model}:" in told.cost or row.model == "inception_v3":
        assert f"{row.parameters / 1e6:.1f} M" in told.cost


def test_patterns_are_of_models_that_there_are_and_of_one_paper_each() -> None:
    for pattern in TABLE:
        assert any(re.fullmatch(pattern, name) for name in names()), pattern
    assert all(sum(bool(re.fullmatch(pattern, name)) for pattern in TABLE) <= 1 for name in names())


@pytest.mark.parametrize("name", ["resnetv2_50", "resnext50_32x4d", "inception_v4", "mobilenetv4_conv_small"])
def test_a_later_paper_with_a_similar_name_is_left_to_timm(name: str) -> None:
    assert name in names() and "timm's page" in description(name).paper
