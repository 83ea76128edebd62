"""What one attempt asks Ray for."""

from __future__ import annotations

import pytest

from forgeline.spec.envelope import Resources
from forgeline_jobs.train.attempt import per_worker


@pytest.mark.parametrize(
    ("asked", "reserved"),
    [
        ({}, {"CPU": 1.0}),
        ({"cpus_per_worker": 0.5, "gpus_per_worker": 1}, {"CPU": 0.5, "GPU": 1.0}),
        ({"memory_per_worker": "2GiB"}, {"CPU": 1.0, "memory": 2 * 2**30}),
    ],
)
def test_what_is_set_is_reserved(asked: dict[str, object], reserved: dict[str, float]) -> None:
    assert per_worker(Resources.model_validate(asked)) == reserved
