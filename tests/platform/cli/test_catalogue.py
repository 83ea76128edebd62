"""`forgeline architectures`: what a family costs and when not to use it are shown beside what it is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest


def test_a_family_is_shown_with_what_was_measured(forgeline: Any) -> None:
    told = json.loads(forgeline("architectures", "show", "gcn", "--format", "json").stdout)
    [row] = [row for row in told["measured"] if row["spec"] == "gcn.yaml"]
    assert row["parameters"] == 23_063 and row["multiply_adds"] > 23_063 and row["samples_per_s"] > 0
    assert row["memory_bytes"] > 4 * 4 * 23_063  # weights, gradients and Adam's two moments
    assert "Where linked nodes differ in class" in told["when_not"] and "**" not in told["when_not"]
    shown = forgeline("architectures", "show", "gcn").stdout
    assert re.search(r"^gcn +features 1433, edges 2, seeds +23\.1 k ", shown, re.MULTILINE)


def test_a_model_of_a_large_family_is_shown_by_itself(forgeline: Any) -> None:
    told = json.loads(forgeline("architectures", "show", "resnet50", "--format", "json").stdout)
    assert [(row["model"], row["parameters"], row["inputs"]) for row in told["measured"]] == [
        ("resnet50", 25_557_032, "image 3x224x224")
    ]
    assert told["measured"][0]["multiply_adds"] == pytest.approx(4.09e9, rel=0.01)  # He et al. 2016, table 1: 3.8e9


def test_the_listing_has_the_figures(forgeline: Any) -> None:
    rows = {row["name"]: row for row in json.loads(forgeline("architectures", "list", "--format", "json").stdout)}
    assert (rows["gcn"]["parameters"], rows["gcn"]["measured_as"]) == (23_063, "gcn.yaml")
    assert "parameters" in forgeline("architectures", "list").stdout.splitlines()[0]
