"""Reports in, windows out: every row once, whatever the network does and whoever is killed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline_deploy.monitor import Collector, Delivery, PaneRecorder, Stream
from forgeline_deploy.monitor.pane import PaneKey, Tally
from forgeline_deploy.monitor.window import Window
from tests.deploy.monitor.traffic import CHAMPION, WINDOW_S, batch, count_by, recorder, reference_of

REFERENCE = reference_of()


def collector(name: str = "c1", started: float = -100.0) -> Collector:
    return Collector(id=name, window_s=WINDOW_S, lateness_s=2.0, silent_after_s=5.0, started=started)


def greet(replica: PaneRecorder, to: Collector, now: float) -> None:
    replica.exchange(lambda delivery: to.receive(replace(delivery, clock=now), now))


def one_pass(batches: list[object]) -> Tally:
    counted = [Tally(observation=count_by(REFERENCE)(one)) for one in batches]  # type: ignore[arg-type]
    return sum(counted, start=Tally())


def test_a_window_closes_when_all_replicas_spoke_after_its_end() -> None:
    to, replicas = collector(), [recorder(name, REFERENCE) for name in ("a", "b")]
    for seed, replica in enumerate(replicas):
        replica.record(batch(20, 3.0, seed=seed))
        greet(replica, to, 4.0)
    greet(replicas[1], to, 9.0)
    greet(replicas[0], to, 12.5)
    assert to.close(12.5) == []  # b may still have something from before
    greet(replicas[1], to, 12.6)
    [window] = to.close(12.6)
    assert (window.key, window.end, window.rows, window.requests) == (PaneKey(0.0), 10.0, 40, 40)
    assert (
        window.parts[CHAMPION].tally.observation
        == one_pass([batch(20, 3.0, seed=0), batch(20, 3.0, seed=1)]).observation
    )
    assert window.remarks == () and not window.is_late


def test_a_replica_that_died_holds_no_window_back_and_is_told_of() -> None:
    to, dead, living = collector(), recorder("dead", REFERENCE), recorder("living", REFERENCE)
    for seed, replica in enumerate((dead, living)):
        replica.record(batch(20, 3.0, seed=seed))
        greet(replica, to, 4.0)
    for now in (8.0, 10.0, 12.5):
        greet(living, to, now)
    [window] = to.close(12.5)
    assert window.rows == 40
    assert "replica dead has said nothing for 8 s" in window.remarks[0]


def test_clocks_of_replicas_move_no_window_and_are_told() -> None:
    to, replica = collector(), recorder("a", REFERENCE)
    replica.record(batch(20, 3.0, seed=0))

    def send(clock: float, now: float) -> None:
        replica.exchange(lambda delivery: to.receive(replace(delivery, clock=clock), now))

    send(5000.0, 4.0)
    assert to.close(4.0) == []
    send(-5000.0, 12.5)
    [window] = to.close(12.5)
    assert window.remarks == ("the clock of replica a is 5012.5 s behind",)


def test_events_from_the_future_wait_for_their_time() -> None:
    to, replica = collector(), recorder("a", REFERENCE)
    replica.record(batch(20, 3.0, seed=0))
    replica.record(batch(20, 5000.0, seed=1))
    greet(replica, to, 4.0)
    greet(replica, to, 12.5)
    assert [window.rows for window in to.close(12.5)] == [20]
    assert to.open_panes == 1


def test_what_comes_after_its_window_is_late_data_of_its_own() -> None:
    to, replica = collector(), recorder("a", REFERENCE)
    replica.record(batch(20, 3.0, seed=0))
    greet(replica, to, 4.0)
    greet(replica, to, 12.5)
    [window] = to.close(12.5)
    replica.record(batch(5, 4.0, seed=1))
    greet(replica, to, 13.0)  # closed and not stored: neither taken nor refused
    to.stored(window.key)
    greet(replica, to, 13.1)
    greet(replica, to, 13.2)
    assert to.close(13.2) == []
    [late] = to.close(24.0)
    assert (late.key, late.rows, late.is_late) == (PaneKey(0.0, 1), 5, True)
    assert late.parts[CHAMPION].tally.observation == one_pass([batch(5, 4.0, seed=1)]).observation


def test_a_collector_closes_nothing_before_replicas_had_time_to_report() -> None:
    to, replica = collector("c2", started=20.0), recorder("a", REFERENCE)
    replica.record(batch(20, 3.0, seed=0))
    greet(replica, to, 20.5)
    assert to.close(24.9) == []
    assert [window.rows for window in to.close(25.1)] == [20]


def test_memory_of_a_replica_is_bounded_and_what_was_forgotten_is_told() -> None:
    replica = recorder("a", REFERENCE)
    for number in range(60):
        replica.record(batch(2, 10.0 * number, seed=number))
        replica.delivery()
    assert replica.dropped_rows == 24
    to = collector()
    greet(replica, to, 4.0)
    greet(replica, to, 640.0)
    assert "had to forget up to 24 rows" in to.close(640.0)[0].remarks[0]


@given(st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_any_order_and_repetition_of_reports_makes_the_same_windows(order: random.Random) -> None:
    streams = (CHAMPION, Stream("challenger", "2"))

    def deliveries() -> list[Delivery]:
        """Three replicas, told one report after another that each was taken."""
        sent: list[Delivery] = []
        for number, name in enumerate("abc"):
            replica, straight = recorder(name, REFERENCE), collector()
            replica.exchange(lambda delivery, to=straight: to.receive(delivery, 0.0))  # type: ignore[misc]
            for step in range(4):
                replica.record(batch(10, 4.0 * step, seed=10 * number + step, stream=streams[step % 2], name=name))
                delivery = replica.delivery()
                sent.append(delivery)
                replica.receive(straight.receive(delivery, 0.0))
        return sent

    def windows(given: list[Delivery]) -> list[Window]:
        to = collector()
        for delivery in given:
            to.receive(delivery, 15.0)
        return to.close(30.0)

    sent = deliveries()
    in_order = windows(sent)
    shuffled = [*sent, *order.choices(sent, k=6)]
    order.shuffle(shuffled)
    # Answers come piece by piece, each after the ones before: of these, only what is there in order is taken.
    assert [without_answers(window) for window in windows(shuffled)] == [without_answers(w) for w in in_order]
    assert sum(window.rows for window in in_order) == 120


def without_answers(window: Window) -> Window:
    return replace(window, parts={stream: replace(part, answers=()) for stream, part in window.parts.items()})


class Life:
    """Replicas that count, a collector that is killed and restored, and a network that loses and repeats."""

    def __init__(self) -> None:
        self.now = 0.0
        self.replicas = [recorder(name, REFERENCE) for name in "ab"]
        self.stored: list[Window] = []
        self.batches: list[object] = []
        self.past: list[Delivery] = []
        self.lives = 0
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.to = collector(f"c{self.lives}", started=self.now)
        self.to.restore({window.key: window.included for window in self.stored})

    def record(self, which: int, back: float) -> None:
        one = batch(3, self.now - back, seed=len(self.batches), name="abcd"[which % 2])
        self.batches.append(one)
        self.replicas[which % 2].record(one)

    def exchange(self, which: int, arrives: bool, answered: bool) -> None:
        replica = self.replicas[which % 2]
        delivery = replica.delivery()
        self.past.append(delivery)
        if arrives:
            receipt = self.to.receive(delivery, self.now)
            if answered:
                replica.receive(receipt)

    def close(self, store: bool) -> None:
        closed = self.to.close(self.now)
        if closed and not store:
            self.begin()  # killed before any of them was safe
            return
        for window in closed:
            self.stored.append(window)
            self.to.stored(window.key)

    def settle(self) -> None:
        for _ in range(12):
            self.now += 12.0
            for which in (0, 1):
                for _ in range(3):
                    self.exchange(which, True, True)
            self.now += 3.0
            for which in (0, 1):
                self.exchange(which, True, True)
            self.close(True)


steps = st.one_of(
    st.tuples(st.just("record"), st.integers(0, 1), st.sampled_from([0.0, 0.0, 1.0, 11.0, 25.0])),
    st.tuples(st.just("exchange"), st.integers(0, 1), st.booleans(), st.booleans()),
    st.tuples(st.just("repeat"), st.integers(0, 50)),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0, 9.0])),
    st.tuples(st.just("close"), st.booleans()),
    st.tuples(st.just("kill")),
)


@given(st.lists(steps, min_size=5, max_size=50))
@settings(max_examples=80)
def test_every_row_is_in_one_window_whatever_is_lost_repeated_or_killed(todo: list[tuple[object, ...]]) -> None:
    life = Life()
    for what, *arguments in todo:
        match what:
            case "record":
                life.record(*arguments)  # type: ignore[arg-type]
            case "exchange":
                life.exchange(*arguments)  # type: ignore[arg-type]
            case "repeat" if life.past:
                life.to.receive(life.past[arguments[0] % len(life.past)], life.now)  # type: ignore[operator]
            case "pass":
                life.now += arguments[0]  # type: ignore[operator]
            case "close":
                life.close(*arguments)  # type: ignore[arg-type]
            case "kill":
                life.begin()
    life.settle()
    counted = sum((part.tally for window in life.stored for part in window.parts.values()), start=Tally())
    whole = one_pass(life.batches)
    assert counted.observation == whole.observation
    assert counted.requests == sum(one.rows for one in life.batches)  # type: ignore[attr-defined]
    answered = Counter(a.request for w in life.stored for part in w.parts.values() for a in part.answers)
    assert answered == Counter(a.request for one in life.batches for a in one.answers)  # type: ignore[attr-defined]
    keys = [window.key for window in life.stored]
    assert len(keys) == len(set(keys))
    on_time = [key for key in keys if not key.generation]
    assert on_time == sorted(on_time)
