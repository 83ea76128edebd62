"""Where a worker is while torch.compile compiles, at the first step or at any later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline_jobs.train.callbacks.heartbeats import Heartbeats
from forgeline_jobs.train.heartbeat import Heart, Identity, Phase, read


@pytest.mark.parametrize("compiles", [True, False])
def test_compiling_is_a_phase_of_its_own_and_counts_for_nothing(tmp_path: Path, compiles: bool) -> None:
    path, nothing = tmp_path / "heartbeat-0", None
    callback: Any = Heartbeats(Heart(path, Identity.own(0)), compiles=compiles)
    during = []

    def backend(graph: Any, inputs: Any) -> Any:
        during.append(read(path))
        return graph.forward

    callback.setup(nothing, nothing, "fit")
    callback.on_train_start(nothing, nothing)
    before = read(path)
    torch.compile(lambda x: x + 1, backend=backend)(torch.ones(3))
    callback.teardown(nothing, nothing, "fit")
    assert before is not None and read(path) == before
    [beat] = during
    assert beat is not None and beat.place == before.place
    assert beat.phase is (Phase.COMPILING if compiles else Phase.LOADING)
