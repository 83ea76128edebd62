from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgeline.errors import SpecError
from forgeline.spec.loading import dump, load
from forgeline.spec.source import read_document

BASE = {"kind": "toy", "name": "toy"}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "on",
        "1e5",
        ".5e5",
        "0x1",
        "null",
        "~",
        "a: b",
        "a #b",
        "-",
        "---",
        "12:30",
        "a:",
        "\x85",
        "\u2028",
        "\ufeff",
        "\x7f",
    ]
)
SLUGS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=10)
SPECS = st.fixed_dictionaries(
    {"kind": st.just("toy"), "name": SLUGS},
    optional={
        "labels": st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3),
        "words": st.dictionaries(TEXTS.filter(bool), st.lists(TEXTS, max_size=3), max_size=3),
        "register": TEXTS,
        "scale": st.floats(allow_nan=False),
        "priority": st.integers(-(2**40), 2**40),
        "retry": st.dictionaries(st.sampled_from(["node_lost", "user_error"]), st.integers(0, 9)),
        "timeout": st.integers(1, 10**6),
        "resources": st.fixed_dictionaries({"memory_per_worker": st.none() | st.integers(1, 2**50)}),
        "keep": st.floats(0, 1),
        "warmup": st.sampled_from(["5%", "30step", 0]),
        "net": st.none()
        | st.fixed_dictionaries(
            {"name": st.just("net18"), "layers": st.lists(st.floats(-1, 1), max_size=3)},
            optional={"head": st.just({"kind": "attention", "heads": 2})},
        ),
    },
)


# What a draw takes by the clock says how busy the machine is, not whether the loader is right.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPECS)
def test_the_resolved_yaml_loads_to_the_same_spec(data: dict[str, Any]) -> None:
    first = load(data)
    again = load(first.text)
    assert again.spec == first.spec
    assert again.text == first.text


def test_every_default_is_written_out() -> None:
    loaded = load({**BASE, "net": {"name": "net18"}})
    assert loaded.text == (
        "kind: toy\nname: toy\n"
        "resources:\n  workers: 1\n  cpus_per_worker: 1.0\n  gpus_per_worker: 0.0\n  memory_per_worker: null\n"
        "retry: {}\ntimeout: null\nmax_idle: null\ngrace: null\npriority: 0\nlabels: {}\n"
        "net:\n  name: net18\n  width: 8\n  layers: []\n  head:\n    kind: pool\n    window: 2\n"
        "optimizer:\n  name: adamw\n  lr: 0.001\n  betas: [0.9, 0.999]\n  api_key: 1\n"
        'every: null\nkeep: 10%\nwarmup: "0"\nwords: {}\nscale: 1.0\nregister: null\n'
    )
    assert dump(loaded.spec) == loaded.text


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300, 5e-324])
def test_extreme_floats(value: float) -> None:
    assert load(load({**BASE, "scale": value}).text).spec.model_dump()["scale"] == value


def test_a_file_a_text_and_a_mapping_are_the_same(tmp_path: Path) -> None:
    text = "kind: toy\nname: toy\noptimizer: {lr: 3e-4}\n"
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    assert load(path).text == load(text).text == load({**BASE, "optimizer": {"lr": 3e-4}}).text
    assert load(path, ["optimizer.lr=1e-2"]).text == load(path, {"optimizer.lr": 1e-2}).text
    with pytest.raises(SpecError, match=r"^toy\.yaml:3: optimizer\.lr: unknown|^toy\.yaml:3: optimizer\.lrr"):
        path.write_text(text.replace("lr", "lrr"))
        load(path)


def test_a_mapping_has_no_lines() -> None:
    with pytest.raises(SpecError) as caught:
        load({**BASE, "optimizer": {"lrr": 1}})
    assert str(caught.value) == "optimizer.lrr: unknown key; did you mean `lr`?"


def test_nested_lists_of_mappings_are_written_as_blocks() -> None:
    from forgeline.spec.loading import _block

    data = {"a": [{"b": 1, "c": [{"d": [1, 2]}, [], {}]}, [[1], ["x: y"]]]}
    assert read_document("\n".join(_block(data, ""))).data == data
