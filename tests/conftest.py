"""How the suite shares two cores: each file goes to one process, first those that wait for a local Ray."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)  # two processes of two threads each would wait for each other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # They take longest: a process that began with them at the end would work on while the other is done.
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
