"""`forgeline plan` of a kind that plans, and of one that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_a_kind_that_does_not_plan_is_answered_for(forgeline: Any, toy_spec: Any, tmp_path: Path) -> None:
    done = forgeline("plan", toy_spec())
    assert (done.returncode, done.stderr) == (0, "")
    assert "not estimated for this kind" in done.stdout
    told = json.loads(forgeline("plan", toy_spec(), "--format", "json").stdout)
    assert told["holds"] == {"workers": 1, "cpus": 1.0, "gpus": 0.0, "memory_bytes": 0}
    assert told["found"]["samples"] == {"train": 3, "val": 2}
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpu", "H100"], "--gpu H100 is for kinds that estimate"),
        (["--throughput", "5"], "--throughput 5.0 is for kinds that estimate"),
        (["--throughput", "0"], "--throughput: got 0.0"),
        (["--throughput", "fast"], "--throughput"),
        (["--set", "stepz=1"], "did you mean `steps`?"),
    ],
)
def test_what_is_wrong_is_exit_2(options: list[str], said: str, forgeline: Any, toy_spec: Any) -> None:
    done = forgeline("plan", toy_spec(), *options)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr and all(line.startswith("error: ") for line in done.stderr.splitlines())


def test_a_refused_specification_is_refused_here_too(forgeline: Any, toy_spec: Any) -> None:
    done = forgeline("plan", toy_spec(wrong="true"))
    assert done.returncode == 2 and "only false is allowed" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FORGELINE_GPU_PRICES", "{H100", 'expected a JSON object such as {"H100": 2.5}'),
        ("FORGELINE_GPU_PRICES", '{"H100": -1}', "FORGELINE_GPU_PRICES: H100: "),
        ("FORGELINE_GPU_MEMORY", '{"mine": "24XB"}', "got '24XB'"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named(name: str, value: str, said: str, forgeline: Any, toy_spec: Any) -> None:
    done = forgeline("plan", toy_spec(), **{name: value})
    assert done.returncode == 2 and said in done.stderr
