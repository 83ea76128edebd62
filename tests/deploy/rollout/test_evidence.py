"""Counts: exact whatever comes twice, late or in parts."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_deploy.rollout import Evidence, StepCounts

NUMBERS = st.integers(0, 50)
LEVELS = st.dictionaries(st.integers(-3, 3), NUMBERS, max_size=4)
COUNTS = st.builds(
    StepCounts,
    champion_requests=NUMBERS,
    requests=NUMBERS,
    errors=NUMBERS,
    slow=st.dictionaries(st.sampled_from(["p50", "p99"]), NUMBERS),
    shadowed=NUMBERS,
    disagreements=NUMBERS,
    pairs=LEVELS,
    champion_losses=LEVELS,
    challenger_losses=LEVELS,
)
EVIDENCE = st.builds(
    Evidence, st.dictionaries(st.tuples(st.integers(0, 2), st.sampled_from(["router-1", "labels"])), COUNTS)
)


@settings(max_examples=40)
@given(EVIDENCE, EVIDENCE, EVIDENCE)
def test_reports_join_in_any_order_and_any_number_of_times(a: Evidence, b: Evidence, c: Evidence) -> None:
    joined = a | b | c
    assert joined == c | (b | a) == joined | b | a | joined
    assert not a.news(joined).cells
    assert (a | b.news(a)) == a | b


@settings(max_examples=40)
@given(COUNTS, COUNTS, COUNTS)
def test_counts_of_sources_add_up_in_any_order(a: StepCounts, b: StepCounts, c: StepCounts) -> None:
    assert a + b + c == c + (b + a)
    assert Evidence({(0, "a"): a, (0, "b"): b, (1, "a"): c}).of_step(0) == StepCounts() + a + b


@settings(max_examples=40)
@given(EVIDENCE)
def test_what_is_written_down_reads_back(evidence: Evidence) -> None:
    assert Evidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
