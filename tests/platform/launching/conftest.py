"""A real `mlflow server` that tests may kill and start again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform.tracking.servers import Server


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, tmp_path)
    server = Server(tmp_path / "mlflow.db")
    server.wait()
    yield server
    server.kill()
