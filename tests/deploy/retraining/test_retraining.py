"""Wanted, approved, launched once, ended: whatever is killed, and whoever races."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.errors import ForgelineError, UsageError
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from forgeline_deploy.retraining.attempt import Attempt, Outcome, Stage
from forgeline_deploy.retraining.launcher import LaunchRefused
from forgeline_deploy.retraining.retraining import Retraining, Wish
from forgeline_deploy.retraining.spec import RetrainConfig
from tests.databases import ledger_url
from tests.deploy.retraining.conftest import DAY_S, TRAINING, LedgerLauncher, Samples

HARM = Wish(why="harm", summary="accuracy fell to 0.81", labelled=500)
DRIFT = Wish(why="drift", summary="intensity moved", labelled=500)
Start = Callable[..., Retraining]


def end(ledger: Ledger, run_id: str, *, alias: str | None = "challenger") -> None:
    for state in ("starting", "running"):
        ledger.transition(run_id, state)
    ledger.transition(
        run_id, "succeeded", result={"registered": {"model": "wine", "version": 4, "alias": alias, "gate": []}}
    )


def test_from_a_wish_to_a_challenger(controller: Start, ledger: Ledger) -> None:
    samples, one = Samples(), controller()
    assert one.want(HARM, 0.0) is None
    assert one.want(HARM, 1.0) == "retraining 1 is approved"
    launched = one.advance(samples, 2.0)
    assert launched is not None and launched.stage is Stage.LAUNCHED and launched.by == "auto"
    assert one.advance(samples, 3.0) == launched and samples.collected == 1
    [run] = ledger.list_runs(kind="train")
    assert run.labels["forgeline.once"] == "retrain/run1/1" and run.id == launched.run
    end(ledger, run.id)
    ended = controller().advance(samples, 100.0)
    assert ended is not None and (ended.outcome, ended.version, ended.changed) == (Outcome.PASSED, 4, 100.0)
    assert [entry["entry"] for entry in ledger.journal("run1")] == [
        "retrain.wanted",
        "retrain.approved",
        "retrain.launched",
        "retrain.ended",
    ]


def test_budget_cooldown_and_labels_hold_it_back(controller: Start, ledger: Ledger) -> None:
    one = controller(at_most="2 per 7d", cooldown="12h")
    assert "retrain.when" in str(one.want(DRIFT, 0.0))
    few = Wish(why="harm", summary="", labelled=199)
    assert one.want(few, 0.0) == "there are 199 labelled samples; retrain.data.least is 200"
    for number, moment in ((1, 0.0), (2, DAY_S)):
        assert one.want(HARM, moment) is None
        current = one.advance(Samples(), moment)
        assert current is not None and current.number == number and current.run is not None
        end(ledger, current.run, alias=None)
        ended = one.advance(Samples(), moment + 100.0)
        assert ended is not None and ended.outcome is Outcome.GATE_FAILED
        assert "cooldown" in str(one.want(HARM, moment + 100.0 + 12 * 3600 - 1))
    assert "at_most is 2 per" in str(one.want(HARM, 7 * DAY_S - 1.0))
    assert one.want(HARM, 7 * DAY_S) is None
    assert controller(when="drift").hindrance(DRIFT, 0.0) == "retraining 3 is approved"


def test_a_person_approves_or_refuses(controller: Start) -> None:
    one, samples = controller(approve="person"), Samples()
    assert one.want(HARM, 0.0) is None
    waiting = one.advance(samples, 1.0)
    assert waiting is not None and waiting.stage is Stage.WANTED and samples.collected == 0
    # Another process, as the command is one.
    other = controller()
    assert other.refuse("ann", 2.0, message="a holiday").stage is Stage.REFUSED
    with pytest.raises(UsageError, match="the last one is refused"):
        other.approve("ann", 3.0)
    refused = one.advance(samples, 4.0)
    assert refused is not None and (refused.stage, refused.message) == (Stage.REFUSED, "a holiday")
    assert "cooldown" in str(one.want(HARM, 4.0))
    assert one.want(HARM, DAY_S) is None
    assert controller().approve("ann", DAY_S + 1).by == "ann"
    launched = one.advance(samples, DAY_S + 2)
    assert launched is not None and launched.number == 2


def test_what_cannot_begin_ends_and_what_may_later_is_tried_again(
    controller: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = controller()
    assert one.want(HARM, 0.0) is None

    def fail(error: Exception) -> None:
        def launch(*given: object) -> str:
            raise error

        monkeypatch.setattr(LedgerLauncher, "launch", launch)

    fail(ForgelineError("no cluster answers"))
    first = one.advance(Samples(), 10.0)
    assert first is not None and first.stage is Stage.APPROVED and first.again == 40.0
    assert one.advance(Samples(), 39.0) == first
    second = controller().advance(Samples(), 40.0)
    assert second is not None and (second.tries, second.again) == (2, 100.0)
    fail(LaunchRefused("data.recent.path: there is no column 'x'"))
    ended = controller().advance(Samples(), 100.0)
    assert ended is not None and ended.outcome is Outcome.NOT_LAUNCHED and "no column" in str(ended.message)


class Killed(BaseException):
    """SIGKILL: nothing else may catch it."""


class KillableJournal(Journal):
    """A journal whose process may be killed before or after each writing."""

    point: Callable[[str], None]

    def append(self, *entries: Any) -> None:
        self.point("before the writing")
        super().append(*entries)
        self.point("after the writing")


actions = st.lists(
    st.tuples(
        st.integers(0, 1),  # which of two controllers that both think they are the only one
        st.sampled_from(["want", "advance", "advance", "end", "approve", "later"]),
        st.lists(st.sampled_from(["pass", "pass", "kill", "race", "refuse", "fail"]), max_size=4),
    ),
    max_size=14,
)


@given(actions, st.sampled_from(["auto", "person"]))
@settings(max_examples=80, deadline=None)
def test_killed_anywhere_and_raced_it_is_one_job(
    empty_ledger: str, tmp_path_factory: pytest.TempPathFactory, taken: list[Any], approve: str
) -> None:
    folder = tmp_path_factory.mktemp("loop")
    ledger = Ledger(ledger_url(folder, like=empty_ledger))
    config = RetrainConfig.model_validate({"spec": TRAINING, "approve": approve, "at_most": "2 per 7d"})
    fates: list[str] = []
    now, samples = [0.0], Samples()

    def point(name: str) -> None:
        fate = fates.pop(0) if fates else "pass"
        if fate == "kill":
            raise Killed(name)
        if "launch" in name and fate == "refuse":
            raise LaunchRefused("the data are gone")
        if "launch" in name and fate == "fail":
            raise ForgelineError("no cluster answers")
        if fate == "race":
            # While one is at this point, a second controller does all that it can.
            start().advance(samples, now[0])

    def start() -> Retraining:
        journal = KillableJournal(ledger, ledger.get("run1"))
        journal.point = point
        launcher = LedgerLauncher(ledger, point)
        return Retraining(config, journal, launcher, run_id="run1", model="wine", folder=folder / "r")

    both = [start(), start()]
    for which, action, fate in taken:
        fates[:] = fate
        try:
            act(both[which], action, ledger, samples, now)
        except (Killed, UsageError):
            both[which] = start()
        running = [run for run in ledger.list_runs(kind="train") if not run.is_final]
        assert len(running) <= 1
    fates.clear()
    last = start()
    for _ in range(3):
        now[0] += DAY_S
        last.advance(samples, now[0])
    attempts = last.all
    assert [each.number for each in attempts] == list(range(1, len(attempts) + 1))
    assert sum(each.is_open for each in attempts) <= 1 and all(each.stage is not Stage.APPROVED for each in attempts)
    runs = {run.labels["forgeline.once"]: run.id for run in ledger.list_runs(kind="train")}
    assert len(runs) == len(ledger.list_runs(kind="train"))
    assert runs == {f"retrain/run1/{each.number}": each.run for each in attempts if each.run is not None}
    begun = sorted(each.launched for each in attempts if each.launched is not None)
    assert all(later - earlier >= 7 * DAY_S for earlier, later in zip(begun, begun[2:], strict=False))
    ledger.close()


def act(one: Retraining, action: str, ledger: Ledger, samples: Samples, now: list[float]) -> Attempt | None:
    if action == "want":
        one.want(HARM, now[0])
    elif action == "approve":
        one.approve("ann", now[0])
    elif action == "later":
        now[0] += 2.5 * DAY_S
    elif action == "end":
        for run in ledger.list_runs(kind="train"):
            if not run.is_final:
                end(ledger, run.id)
    else:
        return one.advance(samples, now[0])
    return None
