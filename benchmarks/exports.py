"""Every family as a small fresh model: which export to a pt2 archive, to ONNX and to 8 bits, and how closely.

    make acceptance ONLY=export

A form is met where the exported model, loaded from its folder, gives what the module gives within 1e-4, for a batch of
one and for the whole batch, or where it is refused with the family's name and the reason. 8 bits are held to no
closeness: fresh weights say nothing of what they cost. What is found is a section of docs/export.md.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
from ruamel.yaml import YAML

from benchmarks.results_file import ROOT, SPECS, read
from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.export import NotExportable, export_model, load_exported
from forgeline.export.forward import model_inputs
from forgeline.export.measurement import trained_run
from forgeline.preprocessing import ImagePreprocessing

Say = Callable[[str], None]
Case = tuple[str, dict[str, Any], str, dict[str, Any], list[int]]

FORMS = ("pt2", "onnx", "int8-dynamic")
CLOSE = 1e-4
GROUP = "export"
PAGE = ROOT / "docs" / "export.md"
SECTION = "## Families"
HEAD = """\
Small models of every family with fresh weights, exported and loaded again. The number is the largest difference of an
output from the module's, for one sample and for a batch; logits and predictions are of the order of one. 8 bits are
int8-dynamic, whose difference with fresh weights says little of what trained ones lose. Written by `make acceptance
ONLY=export` from [export.json](../benchmarks/results/export.json); the reasons are those that the command gives.
"""


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The rows of the group."""
    return {
        f"{config['name']} for {task}, case {number}": partial(measured, say, case)
        for number, case in enumerate(cases())
        for _, config, task, _, _ in [case]
    }


def cases() -> list[Case]:
    """The small models of the tests, and the image networks of the shipped specs on pictures of 32 x 32."""
    module = _test_cases()
    known = list(module.CASES)
    image = {"image": {"shape": [1, 32, 32], "dtype": "float32"}}
    there = {config["name"] for _, config, *_ in known}
    for path in sorted((SPECS / "zoo").glob("*.yaml")):
        config = YAML(typ="safe").load(path).get("architecture", {})
        family = plugins.find(plugins.ARCHITECTURES, config["name"], key="architecture.name")
        if family.name == "cnn" and config["name"] not in there:
            there.add(config["name"])
            known.append(("cnn", {k: v for k, v in config.items() if k != "pretrained"}, "classification", image, [10]))
    return cast("list[Case]", known)


def measured(say: Say, case: Case) -> dict[str, Any]:
    """One model in every form."""
    _, config, task, inputs, outputs = case
    module = _test_cases()
    signature = module.signature_of(task, inputs, outputs)
    samples = {name: tensor.numpy() for name, tensor in module.batch_of(signature).items() if name != "target"}
    refused: dict[str, str] = {}
    parity: dict[str, float] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="forgeline-") as folder:
        bundle = _bundle(Path(folder) / "bundle", config, signature)
        place = Path(folder) / "export"
        try:
            export_model(bundle, place, FORMS, samples=samples, refused=refused)
        except NotExportable as error:  # to any of the forms
            refused = dict.fromkeys(FORMS, str(error))
        else:
            parity = {form: _parity(bundle, place, form, samples) for form in FORMS if form not in refused}
    row: dict[str, Any] = {"model": config["name"], "task": task, "parity": parity, "refused": refused}
    row["seconds"] = round(time.perf_counter() - started, 1)
    told = all(config["name"] in reason for reason in row["refused"].values())
    row["met"] = told and all(row["parity"].get(form, 0.0) <= CLOSE for form in ("pt2", "onnx"))
    row["found"] = ", ".join(f"{form} {_cell(row, form)}" for form in FORMS)
    say(f"{config['name']} for {task}: {row['found']}")
    return row


def write() -> Path:
    """Write what was measured as the last section of the page on exports; without results there is none."""
    found = read(GROUP).get("rows", {})
    before = PAGE.read_text(encoding="utf-8").partition(f"\n{SECTION}\n")[0]
    if found:
        PAGE.write_text(f"{before}\n{SECTION}\n\n{HEAD}\n{_table(found)}\n", encoding="utf-8")
    return PAGE


def _table(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| model | task | pt2 | ONNX | 8 bits |", "|---|---|---|---|---|"]
    for row in found.values():
        cells = " | ".join(_cell(row, form) for form in FORMS)
        lines.append(f"| {row['model']} | {row['task']} | {cells} |")
    reasons = sorted({reason for row in found.values() for reason in row["refused"].values()})
    return "\n".join([*lines, "", "Refusals:", "", *(f"- {reason.replace('<', '&lt;')}" for reason in reasons)])


def _cell(row: Mapping[str, Any], form: str) -> str:
    return f"{row['parity'][form]:.1e}" if form in row["parity"] else "refused"


def _parity(bundle: Bundle, folder: Path, form: str, samples: Mapping[str, Any]) -> float:
    exported = load_exported(folder, form, threads=1)
    trained = trained_run(bundle)
    return max(
        float(np.abs(exported.run(part).astype(np.float64) - trained(part)).max()) for part in _parts(bundle, samples)
    )


def _parts(bundle: Bundle, samples: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The whole batch, and one sample of it; a graph only whole."""
    inputs = model_inputs(bundle, samples)
    yield inputs
    if "seeds" not in inputs:
        yield {name: array[:1] for name, array in inputs.items()}


def _bundle(folder: Path, config: Mapping[str, Any], signature: Mapping[str, Any]) -> Bundle:
    import torch

    family: Any = plugins.find(plugins.ARCHITECTURES, config["name"], key="architecture.name")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = family.build_model(config, signature)
    # Of any kind: encoded samples are all that is asked of the bundle here.
    preprocessing = ImagePreprocessing(height=1, width=1, channels=1, pixel_max=255.0, mean=(0.0,), std=(1.0,))
    return Bundle.save(
        folder,
        model_state=model.state_dict(),
        architecture=config,
        signature=signature,
        preprocessing=preprocessing,
    )


@cache
def _test_cases() -> ModuleType:
    """The module of the tests that has the small models; by its path, since other packages have a `tests` as well.

    One and the same each time: it knows texts by their identity.
    """
    path = ROOT / "tests" / "architectures" / "cases.py"
    spec = importlib.util.spec_from_file_location("architecture_cases", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
