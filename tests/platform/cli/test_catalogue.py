"""`forgeline architectures`: what a family costs and when not to use it are shown beside what it is."""

from __future__ import annotations

import io
import json
import re
from typing import Any, cast

import pytest
from rich.console import Console

from forgeline.cli.catalogue import list_architectures


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
    assert rows["gcn"]["help"].startswith("Graph convolutions")
    titles, *lines = forgeline("architectures", "list").stdout.splitlines()
    assert re.split(" {2,}", titles) == [
        "name", "family", "tasks", "inputs", "parameters", "multiply adds", "memory", "samples/s"
    ]  # fmt: skip
    assert any(re.match(r"gcn +Graph convolutional networks .* 23\.1 k .* MB ", line) for line in lines)


def test_a_terminal_of_120_columns_shows_each_figure_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr("forgeline.cli.render.console", lambda: out)
    list_architectures()
    lines = cast(io.StringIO, out.file).getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    assert any(re.match(r"gcn .* 23\.1 k +62\.4 M +16\.9 MB +1\.46 k", line) for line in lines)


@pytest.mark.parametrize(
    ("name", "paper", "cost"),
    [
        ("resnet18", "arXiv:1512.03385", "11.7 M parameters"),
        ("vgg16_bn", "arXiv:1409.1556", "138.4 M parameters"),
        ("densenet121", "arXiv:1608.06993", "8.0 M parameters"),
        ("inception_v3", "arXiv:1512.00567", "23.8 M parameters"),
        ("tf_efficientnet_b0", "arXiv:1905.11946", "5.3 M parameters"),
        ("mobilenetv2_100", "arXiv:1801.04381", "3.5 M parameters"),
        ("mobilenetv3_large_100", "arXiv:1905.02244", "5.5 M parameters"),
        ("vit_base_patch16_224", "arXiv:2010.11929", "86.6 M parameters"),
        ("convnext_tiny", "timm's page of the model convnext_tiny", "not measured here"),
        ("efficientnetv2_s", "timm's page of the model efficientnetv2_s", "not measured here"),
        ("vit_base_patch14_dinov2", "timm's page", "not measured here"),
        ("cnn", "PyTorch Image Models", "resnet18"),
    ],
)
def test_a_model_of_timm_is_shown_with_its_own_paper(forgeline: Any, name: str, paper: str, cost: str) -> None:
    told = json.loads(forgeline("architectures", "show", name, "--format", "json").stdout)
    assert paper in told["paper"] and cost in told["cost"] and told["when"] and told["when_not"]
    assert name == "cnn" or "He, Zhang" not in told["paper"] or name.startswith("resnet")
    assert name == "cnn" or {row["model"] for row in told["measured"]} <= {name}
