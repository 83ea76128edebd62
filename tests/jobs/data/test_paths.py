"""A source's path: the same file from whatever folder a worker runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeline_jobs.data.sources import IMAGES, SERIES, TABULAR, TEXT

SOURCES = [(TABULAR, {"target": "y"}), (IMAGES, {}), (TEXT, {}), (SERIES, {"target": "y"})]


@pytest.mark.parametrize(("source", "settings"), SOURCES, ids=lambda value: getattr(value, "name", ""))
def test_a_path_is_made_absolute(
    source: Any, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = {
        "a/b": f"{tmp_path}/a/b",
        "~/b": f"{tmp_path}/home/b",
        "/a/b": "/a/b",
        "s3://bucket/b": "s3://bucket/b",
        "": "",
    }
    for given, resolved in expected.items():
        config = source.config_model().model_validate({"name": source.name, "path": given, **settings})
        assert config.path == resolved
        monkeypatch.chdir("/")
        assert type(config).model_validate(config.model_dump()) == config
        monkeypatch.chdir(tmp_path)
