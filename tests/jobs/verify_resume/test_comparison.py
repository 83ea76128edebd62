"""Two courses of training: where they part is found, whatever differs."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from forgeline_jobs.verify_resume.comparison import KINDS, Step, compare, read

WHOLE = {
    rank: [{"step": step, "samples": "a", "loss": "0x1p-1", "weights": f"{step}"} for step in range(1, 9)]
    for rank in (0, 1)
}


def _part(first: int, last: int) -> dict[int, list[Step]]:
    return {rank: [dict(step) for step in steps if first <= step["step"] <= last] for rank, steps in WHOLE.items()}


def test_a_course_that_was_interrupted_is_the_same() -> None:
    found = compare(WHOLE, [_part(1, 5), _part(4, 8)])
    assert found.divergence is None
    assert (found.compared, found.steps, found.ranks) == (20, 8, 2)


@given(step=st.integers(4, 8), rank=st.integers(0, 1), kind=st.sampled_from(KINDS))
def test_the_first_step_that_differs_is_named(step: int, rank: int, kind: str) -> None:
    again = _part(4, 8)
    for later in again[rank]:
        if later["step"] >= step:
            later[kind] = "0x1p+1"  # type: ignore[index]
    found = compare(WHOLE, [_part(1, 5), again]).divergence
    assert found is not None
    assert (found.step, found.rank, found.attempt, found.what) == (step, rank, 2, kind)
    assert f"step {step}, rank {rank}, attempt 2: {kind}" in str(found)


def test_a_step_that_was_left_out_is_named() -> None:
    found = compare(WHOLE, [_part(1, 3), _part(5, 8)]).divergence
    assert found is not None
    assert (found.step, found.what) == (4, "missing")


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    line = json.dumps(WHOLE[0][0])
    (tmp_path / "trace-1.jsonl").write_text(f"{line}\n{line[:9]}", encoding="utf-8")
    assert read(tmp_path) == {1: [WHOLE[0][0]]}
