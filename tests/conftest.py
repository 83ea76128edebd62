"""How the suite shares two cores: `make test` runs what starts a local Ray by itself, the rest in two processes."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Ray reads how it authenticates when it is imported, once in a process, and any module may import it first; a local Ray
# that a test starts in this process has a token.
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RAY_AUTH_MODE", "token")
    import ray  # noqa: F401

# No test holds a time: a busy machine is no fault of the code.
settings.register_profile("forgeline", deadline=None)
settings.load_profile("forgeline")


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch
        from threadpoolctl import threadpool_limits

        # Two processes of two threads each would wait for each other, in torch and in the BLAS of NumPy and SciPy.
        torch.set_num_threads(1)
        threadpool_limits(1)
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
