"""A tracking server that is away, refuses or is slow: it costs a run nothing but lateness."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.jobs.train.faults.scene import INTERVAL, MIDDLE, STEPS, Outcome, Scene, command
from tests.platform.tracking.servers import Proxy, Server

pytestmark = [pytest.mark.ray, pytest.mark.acceptance]

Make = Callable[..., Scene]
Tell = Callable[[Outcome], None]


def test_the_tracker_is_down_from_the_start(scene: Make, server: Server, tell: Tell) -> None:
    server.kill()
    found = scene()
    refused = command("run", str(found.spec))
    assert refused.returncode == 1
    assert "tracking store" in refused.stderr and "Traceback" not in refused.stderr
    server.start()
    server.wait()
    found.start()
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert (outcome.lost, outcome.doubled) == (0, 0)


def test_the_tracker_goes_down_in_the_middle(scene: Make, server: Server, tell: Tell) -> None:
    found = scene()
    found.start()
    found.when_at(INTERVAL)
    server.kill()
    found.when_at(MIDDLE + INTERVAL)
    server.start()
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert (outcome.lost, outcome.doubled) == (0, 0)


def test_the_tracker_is_down_until_the_end(scene: Make, server: Server, tell: Tell) -> None:
    found = scene()
    found.start()
    found.when_at(INTERVAL)
    server.kill()
    ended = command("runs", "wait", found.run.id)
    assert (ended.returncode, found.run.state) == (0, "succeeded")
    assert f"runs sync {found.run.id}" in found.run.paths.events.read_text(encoding="utf-8")
    server.start()
    server.wait()
    assert command("runs", "sync", found.run.id).returncode == 0
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert (outcome.lost, outcome.doubled) == (0, 0)


@pytest.mark.timeout(1500)
def test_the_tracker_is_away_for_ten_minutes(scene: Make, server: Server, tell: Tell) -> None:
    found = scene(architecture__step_s=6.0)
    found.start()
    found.when_at(5)
    server.kill()
    time.sleep(600)
    server.start()
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert (outcome.lost, outcome.doubled) == (0, 0)


@pytest.mark.parametrize("mood", ["refuses", "is slow"])
def test_the_tracker_misbehaves(scene: Make, proxy: Proxy, tell: Tell, mood: str) -> None:
    found = scene()
    found.start()
    found.when_at(INTERVAL)
    proxy.mood = mood
    found.when_at(STEPS - INTERVAL)
    assert mood in proxy.met
    proxy.mood = "well"
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert (outcome.lost, outcome.doubled) == (0, 0)
