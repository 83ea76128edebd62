"""The example of docs/add-a-data-set.md works as it is written, from the entry point to the batches."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from forgeline import plugins

DOCUMENT = Path(__file__).parents[3] / "docs" / "add-a-data-set.md"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Writes the document's modules and installs its entry point."""
    text = DOCUMENT.read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        path = tmp_path / re.match(r"# (\S+)", block).group(1)  # type: ignore[union-attr]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    (tmp_path / "tides" / "__init__.py").touch()
    group, entry = re.search(r'entry-points\."([\w.]+)"\]\n(.+)\n', text).groups()  # type: ignore[union-attr]
    information = tmp_path / "tides-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: tides\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._entries.cache_clear()
    yield
    plugins._entries.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "tides"]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_the_documented_source() -> None:
    source = cast(Any, plugins.find(plugins.DATA, "tides", key="data.name"))
    config = source.config_model().model_validate({"name": "tides", "batch_size": 16, "days": 60})
    data = source.prepare(config)
    assert data.signature.task == "classification" and sum(data.summary["samples"].values()) == 240
    assert data.splits["train"].batch(np.arange(16))["numeric"].shape == (16, 2)
    assert data.preprocessing.decode(np.eye(2))["prediction"].tolist() == [False, True]


def test_functions_that_the_document_names_exist() -> None:
    for module, name in re.findall(r"`(forgeline_jobs\.data\.\w+)\.(\w+)\(", DOCUMENT.read_text()):
        assert callable(plugins.load_object(f"{module}:{name}"))
