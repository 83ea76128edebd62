"""What an ingress tells the controller: which field of an input was wrong, and what it has counted when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Set
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forgeline.bundle import Bundle
from forgeline_deploy.control import steering
from forgeline_deploy.control.orders import IngressReport, Orders
from forgeline_deploy.control.steering import Steering, SteeringOrder
from forgeline_deploy.monitor import Receipt
from forgeline_deploy.serving import Answered
from tests.deploy.serving.conftest import ROW, Local


def test_refused_requests_are_counted_by_names_of_the_model_alone(bundle: Bundle) -> None:
    table = Local(bundle, max_batch=8, max_queue=32, batch_wait="1ms")
    ingress: Any = SimpleNamespace(incarnation="i1")
    told = Steering(cast("Any", ingress), SteeringOrder(deployment="run", window_s=1e9))
    table.front.steering = told
    wrong: list[Any] = [{"age": "old"}, {"usage": "much"}, {"age": [1]}, {"age": None}, {"income": "x"}]
    answers = [table.ask("POST", "/predict", json={"instances": [ROW, ROW | one]}).status_code for one in wrong]
    assert answers == [422, 422, 422, 200, 422]
    bodies = [b"{", b'{"instances": [3]}', b'{"\\ud800": 1}', b'{"a\\n\\u001b[31mb": 1}', json.dumps(ROW).encode()]
    assert [table.ask("POST", "/predict", content=body).status_code for body in bodies] == [400, 422, 422, 422, 422]
    tensors = [{"name": "\ud800"}, {"name": "age", "datatype": "\ud800"}]
    for tensor in tensors:
        asked = json.dumps({"inputs": [tensor]}).encode()
        assert table.ask("POST", "/v2/models/model/infer", content=asked).status_code == 422
    assert told._panes is not None
    [report] = told._panes.delivery().reports
    assert report.tally.refused == {
        "400 body": 1, "422 age": 3, "422 income": 1, "422 inputs": 1, "422 instances": 1, "422 unknown key": 3,
        "422 usage": 1,
    }  # fmt: skip


class Ingress:
    """Has one version, and no other is asked for."""

    incarnation = "i1"
    versions: Set[str] = frozenset({"1"})
    routed: Any = None

    async def open(self, order: Any) -> None:
        raise AssertionError(order)

    async def close(self, version: str) -> None:
        raise AssertionError(version)

    def route(self, traffic: Any) -> None:
        self.routed = traffic


def test_the_last_errors_reach_the_controller_before_the_ingress_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: dict[Any, int] = {}
    away = True

    def ask(deployment: str, method: str, report: IngressReport) -> Orders:
        assert (deployment, method) == ("run", "exchange") and report.delivery is not None
        if away:
            raise TimeoutError("no answer")
        told = {(one.stream, one.key): one for one in report.delivery.reports}
        errors.update({place: one.tally.errors for place, one in told.items()})
        receipt = Receipt(collector="c1", taken={place: one.sequence for place, one in told.items()}, closed={})
        return Orders(champion="1", lanes=[], rollout=None, receipt=receipt)

    monkeypatch.setattr(steering, "ask_controller", ask)
    own = Steering(Ingress(), SteeringOrder(deployment="run", window_s=3600.0))

    async def scene() -> None:
        nonlocal away
        own.answered(failed(1.0))
        await own.close()  # nobody hears it, and what was told is told again, before what came later
        away = False
        own.answered(failed(2.0))
        await own.close()

    asyncio.run(scene())
    assert list(errors.values()) == [2]


def failed(arrival: float) -> Answered:
    return Answered(
        request_id="a", key="a", version="1", role="champion", arrival=arrival, seconds=0.1, status=500, samples=1
    )
