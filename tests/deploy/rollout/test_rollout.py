"""The course of a rollout, and that it goes the same way whatever is killed and replayed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.errors import UsageError
from forgeline_deploy.rollout import Evidence, Rollout, RolloutConfig, StepCounts, begin

HOUR = 3600.0
BASE: dict[str, Any] = {
    "challenger": "models:/digits@challenger",
    "mode": "shadow -> canary 5% -> 100%",
    "compare": {"metric": "error_rate", "worse_by": 0.02},
    "guard": {"p99": "100ms", "errors": "1%"},
    "hold": "10m",
    "requests": 100,
}


def started(**change: Any) -> tuple[Rollout, list[dict[str, Any]]]:
    config = RolloutConfig.model_validate(BASE | change)
    return begin(config, id="r1", model="digits", champion=3, challenger=4, now=0.0)


def counted(step: int, **counts: Any) -> Evidence:
    return Evidence({(step, "router"): StepCounts(**counts)})


EQUAL = counted(0, requests=4000, pairs={1: 100, -1: 100, 0: 3800})
WORSE = counted(0, requests=4000, pairs={1: 400, -1: 100, 0: 3500})


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"].removeprefix("rollout_") for event in events]


def test_a_good_challenger_goes_all_the_way() -> None:
    state, events = started()
    assert (state.share, state.shadows) == (0.0, True)
    for step, evidence in enumerate([EQUAL, counted(1, requests=100), counted(2, requests=100)]):
        now = (step + 1) * HOUR
        made = state.decide(evidence, now)
        state, events = state.after(*made), events + made
    assert kinds(events) == ["started", *["evidence", "advanced"] * 2, "evidence", "completed"]
    assert (state.status, state.share, state.shadows) == ("completed", 1.0, False)
    assert state.decide(WORSE, 9 * HOUR) == []
    assert Rollout.replay(json.loads(json.dumps(events))) == state


def test_a_step_is_held_for_its_time_its_requests_and_the_proof() -> None:
    state, _ = started()
    assert kinds(state.decide(EQUAL, 599.0)) == ["evidence"]
    few = counted(0, requests=99, pairs={0: 4000})
    assert kinds(state.decide(few, HOUR)) == ["evidence"]
    unproven = counted(0, requests=4000, pairs={1: 4, -1: 4, 0: 100})
    assert kinds(state.decide(unproven, HOUR)) == ["evidence"]
    relaxed, _ = started(compare={"require": "no_harm"})
    assert kinds(relaxed.decide(unproven, HOUR)) == ["evidence", "advanced"]


def test_a_proof_lasts_but_later_harm_rolls_back() -> None:
    state, _ = started()
    state = state.after(*state.decide(EQUAL, HOUR))
    assert state.proven and state.share == 0.05
    harm = StepCounts(requests=2000, champion_losses={0: 36_000, 1: 2000}, challenger_losses={0: 1500, 1: 500})
    [_, event] = state.decide(Evidence({(1, "labels"): harm}), HOUR + 1)
    assert event["because"] == "error_rate"
    assert "error_rate: the challenger is worse by" in event["why"]


@pytest.mark.parametrize(
    ("evidence", "because", "said"),
    [
        (WORSE, "error_rate", "worse by 0.075, between"),
        (counted(0, requests=200, errors=30), "errors", "guard.errors: 30 of 200 requests failed (15%); allowed: 1%"),
        (counted(0, requests=200, slow={"p99": 30}), "p99", "30 of 200 answers were slower than p99 allows"),
    ],
)
def test_harm_rolls_back_at_once_with_its_figures(evidence: Evidence, because: str, said: str) -> None:
    state, _ = started()
    made = state.decide(evidence, 1.0)
    assert kinds(made) == ["evidence", "rolled_back"]
    assert made[1]["because"] == because and said in made[1]["why"]
    after = state.after(*made)
    assert (after.status, after.share, after.shadows) == ("rolled_back", 0.0, False)
    assert after.split().choose("anybody") == "3"


def test_without_evidence_it_ends_by_its_timeout_or_waits_for_a_person() -> None:
    state, _ = started(timeout="1d")
    assert state.decide(Evidence(), 86_399.0) == []
    [event] = state.decide(Evidence(), 86_400.0)
    assert event["because"] == "timeout" and "no label has come yet" in event["why"]
    patient, _ = started(timeout="1d", on_timeout="pause")
    patient = patient.after(*patient.decide(Evidence(), 86_400.0))
    assert patient.status == "paused" and patient.shadows
    assert kinds(patient.decide(EQUAL, 90_000.0)) == ["evidence"]
    patient = patient.after(*patient.resume(by="ada", why="labels come", now=90_000.0))
    assert kinds(patient.decide(EQUAL, 90_001.0)) == ["evidence", "advanced"]


def test_a_paused_one_is_still_rolled_back() -> None:
    state, _ = started()
    state = state.after(*state.pause(by="ada", why="lunch", now=1.0))
    assert state.pause(by="ada", why="lunch", now=2.0) == []
    assert kinds(state.decide(WORSE, 2.0)) == ["evidence", "rolled_back"]


def test_a_person_cancels_it_once() -> None:
    state, _ = started()
    state = state.after(*state.cancel(by="ada", why="not today", now=1.0))
    assert (state.status, state.share) == ("cancelled", 0.0)
    with pytest.raises(UsageError, match="rollout r1 is cancelled .not today.; nothing to resume"):
        state.resume(by="ada", why="", now=2.0)


def test_a_champion_is_no_challenger_to_itself() -> None:
    with pytest.raises(UsageError, match="version 3 of 'digits', which is the champion already"):
        begin(RolloutConfig.model_validate(BASE), id="r1", model="digits", champion=3, challenger=3, now=0.0)


def test_a_champion_that_moves_underneath_ends_it() -> None:
    state, _ = started()
    assert state.look_at_aliases(champion=3, challenger=4, now=1.0) == []
    [event] = state.look_at_aliases(champion=7, challenger=4, now=1.0)
    assert "from version 3 to version 7" in event["why"] and state.after(event).status == "cancelled"
    [event] = state.look_at_aliases(champion=None, challenger=4, now=1.0)
    assert "no version" in event["why"]


def test_a_retrained_challenger_waits_or_takes_its_turn() -> None:
    state, _ = started()
    [event] = state.look_at_aliases(champion=3, challenger=5, now=1.0)
    assert "moved to version 5 during the rollout of 4, which is finished first" in event["why"]
    state = state.after(event)
    assert state.status == "running" and state.noted == 5
    assert state.look_at_aliases(champion=3, challenger=5, now=2.0) == []
    replaced, _ = started(on_new_challenger="replace")
    [event] = replaced.look_at_aliases(champion=3, challenger=5, now=1.0)
    assert replaced.after(event).status == "cancelled" and "takes its turn" in event["why"]


def test_the_last_rollout_of_a_journal_is_replayed_among_other_entries() -> None:
    _, first = started()
    second, events = begin(
        RolloutConfig.model_validate(BASE), id="r2", model="digits", champion=3, challenger=5, now=9.0
    )
    late = [{"event": "rollout_paused", "rollout": "r1", "at": 10.0, "why": "of the first"}]
    assert Rollout.replay([*first, {"event": "window", "n": 3}, *events, *late]) == second
    assert Rollout.replay([{"event": "window"}]) is None


REPORTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["router-1", "router-2", "labels"]),
        st.builds(
            StepCounts,
            requests=st.integers(0, 300),
            errors=st.integers(0, 6),
            pairs=st.dictionaries(st.sampled_from([-1, 0, 1]), st.integers(0, 500)),
            challenger_losses=st.dictionaries(st.sampled_from([0, 1]), st.integers(0, 100)),
            champion_losses=st.dictionaries(st.sampled_from([0, 1]), st.integers(0, 400)),
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40)
@given(REPORTS, st.data())
def test_killed_anywhere_it_decides_the_same(reports: list[tuple[int, str, StepCounts]], data: st.DataObject) -> None:
    """Each look is cut off after any of its events, replayed from what was written, and looked at again."""
    change = {"compare": {"require": "no_harm", "min_labels": 50}, "requests": 50}
    whole, journal = started(**change)
    cut, written = started(**change)
    for number, (step, source, counts) in enumerate(reports, start=1):
        evidence, now = Evidence({(step, source): counts}), number * HOUR
        made = whole.decide(evidence, now)
        whole, journal = whole.after(*made), journal + made

        made = cut.decide(evidence, now)
        kept = data.draw(st.integers(0, len(made)))
        written = json.loads(json.dumps(written + made[:kept]))
        replayed = Rollout.replay(written)
        assert replayed is not None
        # What was decided is decided: a look that went on is not to be made twice.
        again = replayed.decide(evidence, now) if kept < len(made) else []
        written, cut = written + again, replayed.after(*again)
    assert cut == whole and written == json.loads(json.dumps(journal))


@settings(max_examples=20)
@given(REPORTS, st.randoms())
def test_what_is_found_depends_on_no_order(reports: list[tuple[int, str, StepCounts]], draw: Any) -> None:
    shuffled = reports * 2
    draw.shuffle(shuffled)
    found = []
    for order in (reports, shuffled):
        state, _ = started(hold="1d")
        joined = Evidence()
        for step, source, counts in order:
            joined = joined | Evidence({(step, source): counts})
        found.append(state.after(*state.decide(joined, 1.0)))
    assert found[0].status == found[1].status
    assert found[0].evidence == found[1].evidence
