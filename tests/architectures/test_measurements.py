"""The figures of `measurements.json` belong to what is there: families, specs, and their numbers of parameters."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from benchmarks.published import PUBLISHED
from forgeline_architectures.measurements import Measurement, measurements, of_family

SPECS = Path(__file__).parents[2] / "jobs" / "specs" / "zoo"


def test_rows_name_families_and_specs_that_exist() -> None:
    families = {entry.name for entry in entry_points(group="forgeline.architectures")}
    assert {row.family for row in measurements()} <= families
    assert all(row.spec is None or (SPECS / row.spec).is_file() for row in measurements())
    assert [row for row in measurements() if row.family == "gcn"] == list(of_family("gcn"))


@pytest.mark.parametrize("row", [row for row in measurements() if row.spec], ids=lambda row: row.spec)
def test_what_is_trained_is_measured_in_full(row: Measurement) -> None:
    assert row.memory_bytes is not None and row.memory_bytes > 4 * row.parameters
    assert row.samples_per_s is not None and row.samples_per_s > 0


@pytest.mark.parametrize("row", [row for row in measurements() if not row.spec], ids=lambda row: row.model)
def test_what_is_published_has_the_published_number_of_parameters(row: Measurement) -> None:
    published = {
        "resnet18": 11_689_512,
        "resnet50": 25_557_032,
        "resnet152": 60_192_808,
        "vgg16": 138_357_544,
        "densenet121": 7_978_856,
        "efficientnet_b0": 5_288_548,
        "mobilenetv2_100": 3_504_872,
        "mobilenetv3_large_100": 5_483_032,
        "vit_base_patch16_224": 86_567_656,
        "inception_v3": 23_834_568,
        "GPT-2": 124_439_808,
        "LLaMA-7B": 6_738_415_616,
    }
    assert set(published) >= set(PUBLISHED)
    assert row.parameters == published[row.model]
