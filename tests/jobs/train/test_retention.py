"""Which checkpoints stay: whatever was written, the newest, the best and one of each stretch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forgeline_jobs.train.retention import Ranking, Retention

STEPS = st.lists(st.integers(1, 300), min_size=1, max_size=40, unique=True).map(sorted)


@given(steps=STEPS, last=st.integers(1, 4), every=st.none() | st.integers(1, 50), data=st.data())
def test_pruned_after_each_checkpoint_as_after_all(
    steps: list[int], last: int, every: int | None, data: st.DataObject
) -> None:
    retention = Retention(last=last, every=every)
    best = data.draw(st.sampled_from(steps))
    there: set[int] = set()
    for step in steps:
        there = retention.kept({*there, step}, [best])
    assert {*steps[-last:], best} <= there
    assert there == retention.kept(steps, [best])
    if every is not None:
        stretches = {step // every for step in steps if step >= every}
        assert stretches <= {step // every for step in there}
        assert len(there) <= len(stretches) + last + 1


@given(scores=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), size=st.integers(1, 4))
def test_the_ranking_holds_the_best_and_of_equals_the_earlier(scores: list[tuple[int, int]], size: int) -> None:
    ranking = Ranking(size)
    for step, score in enumerate(scores):
        ranking.add(step, score)
    expected = sorted(range(len(scores)), key=lambda step: (*(-part for part in scores[step]), step))
    assert ranking.steps == expected[:size]
