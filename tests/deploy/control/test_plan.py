"""What follows from a journal: which versions are wanted, and who answers."""

from __future__ import annotations

from typing import Any

from forgeline_deploy.control.plan import DOWN, FAILED, UP, Plans, as_entries, plan_of
from forgeline_deploy.control.traffic import RolloutCounts, RolloutTraffic
from forgeline_deploy.deployment.pinning import Pinned
from forgeline_deploy.rollout import Evidence, Rollout, RolloutConfig, StepCounts, begin
from forgeline_deploy.serving import Answered

CONFIG = RolloutConfig.model_validate(
    {"challenger": "models:/wine@challenger", "mode": "shadow -> 50% -> 100%", "hold": "1s", "requests": 10}
)


def pinned(role: str, version: str) -> dict[str, Any]:
    return Pinned(
        role=role, reference=f"models:/wine/{version}", model="wine", version=version, digest=version, bundle=version
    ).entry()


def up(version: str) -> dict[str, Any]:
    return {"entry": UP, "version": version, "at": 0.0}


def begun() -> tuple[Rollout, list[dict[str, Any]]]:
    rollout, events = begin(CONFIG, id="r1", model="wine", champion=1, challenger=2, now=0.0)
    return rollout, [pinned("champion", "1"), up("1"), pinned("challenger", "2"), *as_entries(events)]


def test_a_journal_without_a_version_has_no_plan() -> None:
    assert plan_of([]) is None


def test_a_challenger_is_wanted_from_the_start_and_answers_once_it_is_up() -> None:
    _, entries = begun()
    plan = plan_of(entries)
    assert plan is not None and set(plan.wanted) == {"1", "2"} and plan.running is None
    plan = plan_of([*entries, up("2")])
    assert plan is not None and plan.running is not None and plan.running.id == "r1"
    assert plan.tried == (2,)


def test_a_rollout_that_is_over_leaves_the_champion() -> None:
    rollout, entries = begun()
    over = as_entries(rollout.cancel(by="ada", why="no", now=1.0))
    plan = plan_of([*entries, up("2"), *over])
    assert plan is not None and set(plan.wanted) == {"1"} and set(plan.up) == {"1", "2"} and plan.running is None
    plan = plan_of([*entries, up("2"), *over, {"entry": DOWN, "version": "2", "at": 2.0}])
    assert plan is not None and set(plan.up) == {"1"}


def test_what_did_not_come_up_is_not_up() -> None:
    _, entries = begun()
    plan = plan_of([*entries, {"entry": FAILED, "version": "2", "why": "no memory", "at": 1.0}])
    assert plan is not None and set(plan.up) == {"1"}


def test_the_new_champion_is_the_one_that_was_pinned_last() -> None:
    rollout, entries = begun()
    evidence = Evidence({(step, "i"): StepCounts(requests=20) for step in range(3)})
    state, moment = rollout, 0.0
    while not state.is_final:
        moment += 2.0
        events = state.decide(evidence, moment)
        entries += as_entries(events)
        state = state.after(*events)
    plan = plan_of([*entries, up("2")])
    # Completed and not settled yet: both stay, and the challenger answers all.
    assert plan is not None and set(plan.wanted) == {"1", "2"} and plan.running is not None and plan.running.share == 1
    settled = as_entries(state.settled(moment, why="done", moved=True))
    plan = plan_of([*entries, up("2"), *settled, pinned("champion", "2")])
    assert plan is not None and set(plan.wanted) == {"2"} and plan.champion.version == "2" and plan.running is None


class Growing:
    """A journal that somebody writes to; each entry is read once."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.read = 0

    def since(self, number: int) -> list[dict[str, Any]]:
        assert number == self.read, "read again"
        self.read = len(self.entries)
        return self.entries[number:]


def test_a_journal_that_grows_is_read_on_from_where_it_was_left() -> None:
    rollout, entries = begun()
    cancelled = as_entries(rollout.cancel(by="ann", why="a holiday", now=3.0))
    failed = {"entry": FAILED, "version": "2", "why": "no memory", "at": 1.0}
    growing = Growing()
    plans = Plans(growing)
    for entry in [*entries, up("2"), {"entry": "monitor.window"}, failed, *cancelled, pinned("champion", "3")]:
        growing.entries.append(entry)
        plan = plans.now()
        assert plan == plan_of(growing.entries) and plans.now() is plan


def answered(role: str, version: str, said: str, *, request: str = "a", status: int = 200) -> Answered:
    return Answered(
        request_id=request, key=request, version=version, role=role, arrival=0.0, seconds=0.1, status=status,
        samples=1, columns={"prediction": [said]},
    )  # fmt: skip


def test_shadows_are_held_against_the_answers_in_any_order() -> None:
    rollout, _ = begun()
    counts = RolloutCounts("ingress:1")
    traffic = RolloutTraffic(rollout, counts)
    choice = traffic.choose("ada", 0.0)
    assert (choice.version, choice.role, choice.shadows) == ("1", "champion", ("2",))
    traffic.answered(answered("champion", "1", "x", request="a"))
    traffic.answered(answered("shadow", "2", "x", request="a"))
    traffic.answered(answered("shadow", "2", "y", request="b"))
    traffic.answered(answered("champion", "1", "x", request="b"))
    traffic.answered(answered("shadow", "2", "", request="c", status=500))
    traffic.answered(answered("champion", "1", "x", request="c"))
    traffic.answered(answered("champion", "1", "", request="d", status=422))
    traffic.answered(answered("shadow", "2", "", request="d", status=422))
    traffic.answered(answered("shadow", "2", "", request="f", status=429))
    traffic.answered(answered("champion", "1", "x", request="f"))
    traffic.answered(answered("named", "2", "x", request="e"))
    [found] = counts.evidence().cells.values()
    assert (found.champion_requests, found.requests, found.errors) == (4, 4, 2)
    assert (found.shadowed, found.disagreements) == (2, 1)


def test_counts_of_a_step_outlive_a_change_of_the_traffic() -> None:
    rollout, _ = begun()
    counts = RolloutCounts("ingress:1")
    for _ in range(2):
        RolloutTraffic(rollout, counts).answered(answered("champion", "1", "x"))
    assert counts.evidence().of_step(0).champion_requests == 2
