"""Delivery at least once, in order for each destination, and never given up in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgeline.ledger.journal import Journal, Overtaken
from forgeline_deploy.alerts.alert import Alert, Event, Notice
from forgeline_deploy.alerts.outbox import GIVE_UP_AFTER_S, LONGEST_WAIT_S, Outbox, wait_s

MakeAlert = Callable[..., Alert]


class Memory:
    """A journal in memory, of which each entry may be the last one before a kill."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries

    def since(self, number: int) -> list[Any]:
        return self.entries[number:]

    def append(self, *entries: Any) -> None:
        self.entries += entries

    def refresh(self) -> list[Any]:
        raise Overtaken("nobody else writes")


def notices(alert: MakeAlert, *to: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        Notice(number=number, event=Event.RAISED, at=1.0, alert=alert(subject=str(number)), to=names).to_entry()
        for number, names in enumerate(to)
    ]


def test_one_that_is_down_holds_up_nobody_and_keeps_its_order(journal: Callable[[], Journal], alert: MakeAlert) -> None:
    written = journal()
    written.append(*notices(alert, ("a", "b"), ("a", "b")))
    outbox = Outbox(written)
    first_a, first_b = outbox.due(10.0)
    assert (first_a.to, first_b.to, first_a.notice.number) == ("a", "b", 0)
    assert outbox.due(10.0, busy=["a"]) == [first_b]
    again = outbox.failed(first_a, "answered 500", 10.0)
    assert again is not None and 12.5 <= again.again <= 15.0
    outbox.delivered(first_b, 10.0)
    assert [(each.to, each.notice.number) for each in outbox.due(10.0)] == [("b", 1)]
    # The same to a process that has just started.
    outbox = Outbox(journal())
    assert [(each.to, each.notice.number, each.tries) for each in outbox.due(20.0)] == [("a", 0, 1), ("b", 1, 0)]
    assert outbox.waiting[0].error == "answered 500"


def test_it_is_given_up_after_days_and_the_next_one_goes_on(journal: Callable[[], Journal], alert: MakeAlert) -> None:
    written = journal()
    written.append(*notices(alert, ("a",), ("a",)))
    outbox, now, tries = Outbox(written), 0.0, 0
    while outbox.due(now)[0].notice.number == 0:
        outbox.failed(outbox.due(now)[0], "nobody", now)
        tries += 1
        now = max(now, outbox.waiting[0].again)
    assert GIVE_UP_AFTER_S <= now <= GIVE_UP_AFTER_S + LONGEST_WAIT_S and 75 < tries < 160
    assert [each.notice.number for each in Outbox(journal()).given_up] == [0]


def test_waits_double_within_bounds() -> None:
    waits = [wait_s("seed", tries) for tries in range(1, 40)]
    assert all(0.5 <= wait / min(3600.0, 5.0 * 2**number) <= 1.0 for number, wait in enumerate(waits))
    assert len({wait_s(str(seed), 20) for seed in range(100)}) == 100


def test_what_waits_for_a_destination_that_is_gone_is_given_up(alert: MakeAlert) -> None:
    outbox = Outbox(Memory(notices(alert, ("a", "b"))))
    outbox.drop("a", 5.0)
    assert [each.to for each in outbox.waiting] == ["b"] and outbox.given_up[0].to == "a"


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_killed_anywhere_everything_arrives_in_order(alert: MakeAlert, data: st.DataObject) -> None:
    """A kill comes between a delivery and its entry: what was delivered and not written is delivered again."""
    entries = notices(alert, *data.draw(st.lists(st.sampled_from([("a",), ("b",), ("a", "b"), ()]), max_size=6)))
    wanted = {name: [entry["number"] for entry in entries if name in entry["to"]] for name in "ab"}
    arrived: dict[str, list[int]] = {"a": [], "b": []}
    outbox, now = Outbox(Memory(entries)), 0.0
    while outbox.waiting:
        now += 3600.0
        for delivery in outbox.due(now):
            fate = data.draw(st.sampled_from(["written", "written", "killed", "failed"]))
            if fate == "failed":
                outbox.failed(delivery, "no", now)
                continue
            arrived[delivery.to].append(delivery.notice.number)
            if fate == "killed":
                outbox = Outbox(Memory(entries))
                break
            outbox.delivered(delivery, now)
    for name, numbers in arrived.items():
        assert sorted(numbers) == numbers and list(dict.fromkeys(numbers)) == wanted[name]
