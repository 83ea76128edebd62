"""The champion's alias at the end of a rollout, in a real registry."""

from __future__ import annotations

import pytest

from forgeline.registry.models import Registry
from forgeline.tracking.tracker import Tracker
from forgeline_deploy.rollout import Evidence, Rollout, RolloutConfig, StepCounts, begin, settle


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(f"sqlite:///{tmp_path_factory.mktemp('settling') / 'mlflow.db'}")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, tracker: Tracker) -> Registry:
    home = tmp_path_factory.mktemp("home")
    return Registry(tracker, f"sqlite:///{home / 'ledger.db'}", home=home)


@pytest.fixture
def completed(request: pytest.FixtureRequest, registry: Registry, tracker: Tracker) -> Rollout:
    """A rollout of version 2 of a new model, whose champion is version 1."""
    name = request.node.name
    tracker.client.create_registered_model(name)
    for _ in range(3):
        tracker.client.create_model_version(name, source="file:///nowhere")
    registry.promote(name, 1)
    config = RolloutConfig.model_validate({"challenger": f"models:/{name}@challenger", "mode": "100%", "hold": "1s"})
    state, _ = begin(config, id="r1", model=name, champion=1, challenger=2, now=0.0)
    assert settle(registry, state, now=1.0) == []
    return state.after(*state.decide(Evidence({(0, "router"): StepCounts(requests=200)}), 2.0))


def moves(registry: Registry, rollout: Rollout) -> list[tuple[int | None, int | None]]:
    return [(move.from_version, move.to_version) for move in registry.history(rollout.model, "champion")]


def test_it_is_promoted_once_and_the_history_says_why(registry: Registry, completed: Rollout) -> None:
    [event] = settle(registry, completed, now=3.0)
    assert event["moved"] is True
    assert moves(registry, completed) == [(None, 1), (1, 2)]
    assert registry.history(completed.model)[-1].why.startswith("rollout r1 completed: step 100% passed")
    # Killed before the event was written down.
    [again] = settle(registry, completed, now=4.0)
    assert again["moved"] is True
    done = completed.after(again)
    assert done.status == "settled" and done.share == 1.0
    assert settle(registry, done, now=5.0) == []
    assert len(moves(registry, completed)) == 2


def test_a_person_who_was_faster_is_told_apart(registry: Registry, completed: Rollout) -> None:
    registry.promote(completed.model, 2, why="by Ada")
    [event] = settle(registry, completed, now=3.0)
    assert (event["moved"], event["why"]) == (False, "by Ada")


def test_an_alias_that_moved_elsewhere_is_left_there(registry: Registry, completed: Rollout) -> None:
    registry.promote(completed.model, 3, why="an emergency")
    [event] = settle(registry, completed, now=3.0)
    assert "it is version 3, expected 1; version 2 passed its rollout and was not promoted" in event["why"]
    assert completed.after(event).status == "cancelled" and completed.after(event).share == 0.0
    assert moves(registry, completed) == [(None, 1), (1, 3)]
