"""The example of docs/add-an-architecture.md works as it is written: from the entry point to a bundle's predictions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.spec.loading import load
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.worker import Job

DOCUMENT = Path(__file__).parents[3] / "docs" / "add-an-architecture.md"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Writes the document's modules and installs its entry point."""
    text = DOCUMENT.read_text()
    (tmp_path / "ridges").mkdir()
    for name, block in re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(block)
    group, entry = re.search(r'entry-points\."([\w.]+)"\]\n(.+)\n', text).groups()  # type: ignore[union-attr]
    information = tmp_path / "ridges-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ridges\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._entries.cache_clear()
    yield
    plugins._entries.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "ridges"]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_the_documented_family_trains_and_predicts(tmp_path: Path) -> None:
    family = cast("plugins.ArchitectureDescriptor", plugins.find(plugins.ARCHITECTURES, "ridges", key="name"))
    assert (family.when_not, tuple(family.measurements())) == ("", ())
    text = re.search(r"```yaml\n(kind: train.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert text is not None
    spec = load(text[1], {"trainer.epochs": 20, "optimizer.lr": 0.01, "architecture.features": 128})
    job = Job(spec=spec.text, run_id="ridges", home=str(tmp_path), attempt=1, checkpoint=None)
    job.paths.attempt(1).mkdir(parents=True)
    Fitting(job).run()
    bundle = Bundle.load(job.paths.bundle)
    assert bundle.name == "ridges" and bundle.metrics["val/accuracy"] > 0.8
    assert bundle.model.hidden.weight.shape == (128, 30)
