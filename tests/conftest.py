"""How the suite shares two cores: `make test` runs what starts a local Ray by itself, the rest in two processes."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# No test holds a time: a busy machine is no fault of the code.
settings.register_profile("forgeline", deadline=None)
settings.load_profile("forgeline")


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)  # two processes of two threads each would wait for each other
