"""What an ingress tells the monitor of requests that are no valid input: which field was wrong, and how often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.bundle import Bundle
from forgeline_deploy.control import steering
from forgeline_deploy.control.steering import Steering, SteeringOrder
from tests.deploy.serving.conftest import ROW, Local


def test_refused_requests_are_counted_by_field(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "_MOST_FIELDS", 2)
    table = Local(bundle, max_batch=8, max_queue=32, batch_wait="1ms")
    ingress: Any = SimpleNamespace(incarnation="i1")
    told = Steering(cast("Any", ingress), SteeringOrder(deployment="run", window_s=1e9))
    table.front.steering = told
    wrong: list[Any] = [{"age": "old"}, {"usage": "much"}, {"age": [1]}, {"age": None}, {"income": "x"}]
    answers = [table.ask("POST", "/predict", json={"instances": [ROW, ROW | one]}).status_code for one in wrong]
    assert table.ask("POST", "/predict", content=b"{").status_code == 400
    assert answers == [422, 422, 422, 200, 422]
    assert told._panes is not None
    [report] = told._panes.delivery().reports
    assert report.tally.refused == {"400 other fields": 1, "422 age": 2, "422 other fields": 1, "422 usage": 1}
