"""A folder that comes from elsewhere: altered bytes, paths that lead out of it, files that are too large, no graph."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from forgeline.errors import BundleError, BundleTampered, ForgelineError, UsageError
from forgeline.export import load_exported
from forgeline.export import manifest as export_manifest


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def resealed(folder: Path, **changes: Any) -> None:
    """What someone who alters a folder would do next."""
    manifest = json.loads((folder / "export.json").read_text()) | changes
    for name in manifest["digests"]:
        if (folder / name).is_file():
            manifest["digests"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "export.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(("name", "form"), [("model.onnx", "onnx"), ("model.pt2", "pt2")])
def test_altered_bytes_are_refused(folder: Path, name: str, form: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleTampered, match=rf"{name} is not the file that was sealed"):
        load_exported(folder, form)


def test_altered_preprocessing_is_refused_when_it_is_used(table: Any, folder: Path) -> None:
    (folder / "preprocessing.json").write_text("{}")
    with pytest.raises(BundleTampered, match="preprocessing.json is not the file that was sealed"):
        load_exported(folder, "onnx").predict(table.raw)


def test_a_known_digest_tells_a_folder_that_was_sealed_anew(folder: Path) -> None:
    digest = load_exported(folder, "onnx").digest
    load_exported(folder, "onnx", digest=digest)
    resealed(folder, created="later")
    load_exported(folder, "onnx")
    with pytest.raises(BundleTampered, match="export.json has sha256"):
        load_exported(folder, "onnx", digest=digest)


def test_names_stay_inside_the_folder(folder: Path) -> None:
    digests = json.loads((folder / "export.json").read_text())["digests"] | {"../model.onnx": "0" * 64}
    resealed(folder, digests=digests, files={"onnx": "../model.onnx"})
    with pytest.raises(ForgelineError, match="leaves the folder"):
        load_exported(folder)
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")
    resealed(folder, digests={"model.onnx": "0" * 64}, files={"onnx": "model.onnx"})
    with pytest.raises(ForgelineError, match="leaves the folder"):
        load_exported(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "not the manifest of an export: format"),
        ({"run": "rm -rf"}, "Extra inputs"),
        ({"files": {"onnx": "model.exe"}}, r"seals no model\.exe"),
        ({"bundle": "short"}, "bundle"),
    ],
)
def test_other_manifests_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    resealed(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_exported(folder, "onnx")


def test_a_manifest_is_bounded(folder: Path) -> None:
    (folder / "export.json").write_text("[" * (export_manifest.LARGEST_MANIFEST_BYTES + 1))
    with pytest.raises(BundleError, match=r"more than 1,048,576 bytes"):
        load_exported(folder, "onnx")
    (folder / "export.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match="not the manifest of an export"):
        load_exported(folder, "onnx")


def test_an_onnx_model_names_no_file_beside_it(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    resealed(folder)
    with pytest.raises(BundleError, match="names files beside it"):
        load_exported(folder, "onnx")


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x08"])
def test_what_is_no_onnx_model_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    resealed(folder)
    with pytest.raises(BundleError, match="the ONNX model cannot be read"):
        load_exported(folder, "onnx")


def test_other_inputs_than_the_manifest_says_are_refused(folder: Path) -> None:
    resealed(folder, inputs=[{"name": "numeric", "shape": [None, 1], "dtype": "float32"}])
    with pytest.raises(BundleError, match="takes categorical, numeric; export.json says numeric"):
        load_exported(folder, "onnx")


def test_settings_are_checked(table: Any, exported: Path) -> None:
    with pytest.raises(UsageError, match="threads is 0"):
        load_exported(exported, "onnx", threads=0)
    with pytest.raises(UsageError, match="batch_size is 0"):
        load_exported(exported, "onnx").run(table.samples, batch_size=0)
    assert np.isfinite(load_exported(exported, "onnx", threads=2).run(table.samples)).all()


def test_an_onnx_model_needs_no_torch(exported: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from forgeline.export import load_exported\n"
        f"model = load_exported({str(exported)!r}, 'onnx')\n"
        "model.run({'numeric': np.zeros((3, 1), np.float32), 'categorical': np.zeros((3, 1), np.int64)})\n"
        "assert not {'torch', 'forgeline_architectures'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
