from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.errors import LedgerError
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.states import ACTIVE, FINAL, TRANSITIONS, State, sources
from tests.databases import ledger_url


def test_every_state_is_active_or_final() -> None:
    assert set(State) == ACTIVE | FINAL
    assert not ACTIVE & FINAL
    assert set(TRANSITIONS) == set(State)


def test_nothing_leaves_a_final_state() -> None:
    assert all(not TRANSITIONS[state] for state in FINAL)


def test_every_state_can_be_reached_and_left_for_an_end() -> None:
    reached = {State.QUEUED}
    while grown := {target for state in reached for target in TRANSITIONS[state]} - reached:
        reached |= grown
    assert reached == set(State)
    assert all(TRANSITIONS[state] & FINAL for state in ACTIVE)


def test_sources_are_the_transitions_seen_from_their_ends() -> None:
    for state, target in itertools.product(State, State):
        assert (state in sources(target)) == (target in TRANSITIONS[state])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return Ledger(ledger_url(tmp_path_factory.mktemp("states")))


_numbers = itertools.count()


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(st.sampled_from(list(State)), max_size=12))
def test_no_sequence_of_moves_leaves_the_graph(shared: Ledger, moves: list[State]) -> None:
    run_id = f"run-{next(_numbers)}"
    shared.create_run(id=run_id, name="n", kind="train", spec="")
    now = State.QUEUED
    for target in moves:
        if target in TRANSITIONS[now]:
            shared.transition(run_id, target)
            now = target
        else:
            with pytest.raises(LedgerError, match=f"is {now} and cannot become {target}"):
                shared.transition(run_id, target)
        record = shared.get(run_id)
        assert record.state is now
        assert (record.ended is not None) == (now in FINAL)
