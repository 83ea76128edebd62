"""A pt2 archive that could run code is refused before torch reads it, however it would."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline.errors import BundleError
from forgeline.export import pt2_archive

MODEL = "archive/models/model.json"
WEIGHTS = "archive/data/weights/model_weights_config.json"
SAMPLES = "archive/data/sample_inputs/model.pt"

Change = Callable[[dict[str, bytes]], None]


def changed(content: bytes, change: Change, *, compressed: bool = False) -> bytes:
    """The archive with other entries."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def edit(name: str, edit_document: Callable[[Any], None]) -> Change:
    def change(entries: dict[str, bytes]) -> None:
        document = json.loads(entries[name])
        edit_document(document)
        entries[name] = json.dumps(document).encode()

    return change


def operator(name: str) -> Change:
    def set_target(document: Any) -> None:
        document["graph_module"]["graph"]["nodes"][-1]["target"] = name

    return edit(MODEL, set_target)


def expression(text: str) -> Change:
    def set_size(document: Any) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        next(iter(values.values()))["sizes"] = [{"as_expr": {"expr_str": text, "hint": None}}]

    return edit(MODEL, set_size)


def structure(node: dict[str, Any]) -> Change:
    def set_structure(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, node])

    return edit(MODEL, set_structure)


def weight(**fields: Any) -> Change:
    return edit(WEIGHTS, lambda document: next(iter(document["config"].values())).update(fields))


@pytest.fixture(scope="module")
def content(exported: Path) -> bytes:
    return (exported / "model.pt2").read_bytes()


def test_what_was_exported_is_taken(content: bytes) -> None:
    copy = pt2_archive.checked_archive(content)
    with zipfile.ZipFile(copy) as archive, zipfile.ZipFile(io.BytesIO(content)) as source:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: source.read(name) for name in source.namelist()
        }


LEAF = {"type": None, "context": None, "children_spec": []}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda entries: entries.update({SAMPLES: b"\x80\x04."}), "pickled samples"),
        (lambda entries: entries.update({"archive/data/weights/model.pt": b"\x80\x04."}), "a file"),
        (lambda entries: entries.update({"archive/../escape": b""}), "a file"),
        (lambda entries: entries.update({"archive/data/constants/opaque_obj_0": b"\x80\x04."}), "a file"),
        (lambda entries: entries.pop(MODEL), "has no archive/models/model.json"),
        (lambda entries: entries.update({MODEL: b"{"}), "Expecting property name"),
        (lambda entries: entries.update({MODEL: b"[" * 100_000}), "recursion"),
        (weight(use_pickle=True), "is pickled or no tensor"),
        (weight(path_name="../../model.pt"), "is pickled or no tensor"),
        (edit(WEIGHTS, lambda document: document.pop("config")), "'config'"),
        (operator("torch.hub.load"), "operator 'torch.hub.load'"),
        (operator("torch.ops.aten.from_file.default"), "operator 'torch.ops.aten.from_file.default'"),
        (operator("torch.ops.mylib.run.default"), "operator"),
        (operator("_operator.methodcaller"), "operator"),
        (operator("#custom"), "operator"),
        (expression("__import__('os').system('id')"), "the size"),
        (expression("s0.__class__"), "the size"),
        (expression("exec(s0)"), "the size"),
        (expression("9**9**9**9"), "the size"),
        (expression("4**4**4**4"), "the size"),
        (expression("Pow(Integer(9), Pow(Integer(9), Integer(999999999)))"), "the size"),
        (expression("Symbol('s0', **exec)"), "the size"),
        (expression("1+" * 2000 + "1"), "no short expression"),
        (structure({"type": "collections.defaultdict", "context": "{}", "children_spec": []}), "are a 'collections"),
        (
            structure(
                {
                    "type": "builtins.tuple",
                    "context": '{"__enum__": true, "fqn": "antigravity:x", "name": "y"}',
                    "children_spec": [LEAF],
                }
            ),
            "no known structure",
        ),
        (edit(MODEL, lambda document: document.update(guards_code=["__import__('os')"])), "has guards_code"),
        (
            edit(
                MODEL,
                lambda document: document["graph_module"]["graph"]["nodes"][0].update(
                    metadata={"source_fn_stack": "x,torch.hub.load"}
                ),
            ),
            "has notes",
        ),
        (edit(MODEL, lambda document: document["range_constraints"].update({"exec": {}})), "the size 'exec'"),
    ],
)
def test_what_could_run_code_is_refused(content: bytes, change: Change, reason: str) -> None:
    with pytest.raises(BundleError, match="a pt2 archive that Forgeline did not write") as raised:
        pt2_archive.checked_archive(changed(content, change))
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "GreaterThan(Symbol('u0', integer=True), Integer(0))",  # of how many rows a graph has
        "FloorDiv(Pow(Symbol('s77', positive=True, integer=True), Integer(2)), Integer(4))",
        "2*s0 + u3//4",
    ],
)
def test_sizes_that_torch_writes_are_taken(content: bytes, text: str) -> None:
    assert pt2_archive.reason_to_refuse(changed(content, expression(text))) is None


def test_zip_tricks_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="is compressed"):
        pt2_archive.checked_archive(changed(content, lambda entries: None, compressed=True))
    with pytest.raises(BundleError, match="not a zip file"):
        pt2_archive.checked_archive(b"PK no archive")
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(MODEL, b"{}")
    with pytest.raises(BundleError, match="twice"):
        pt2_archive.checked_archive(stream.getvalue())


def test_no_other_operator_of_aten_touches_files() -> None:
    touching = {
        schema.name.removeprefix("aten::")
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("aten::") and {argument.name for argument in schema.arguments} & {"filename"}
    }
    assert touching <= pt2_archive._WITH_EFFECTS
