"""How the suite shares two cores: a file goes to one process, and all those that start a local Ray to the same."""

from __future__ import annotations

import os

import pytest

RAY = "ray"


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)  # two processes of two threads each would wait for each other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _group(item) is None:
            item.add_marker(pytest.mark.xdist_group(item.path.as_posix()))
    # They take longest: whoever begins with them is not left with them at the end.
    items.sort(key=lambda item: _group(item) != RAY)


def _group(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("xdist_group")
    return None if marker is None else str(marker.args[0])
