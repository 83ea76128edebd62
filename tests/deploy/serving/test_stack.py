"""The stack on a real Ray Serve: predictions, and the end. What is killed and switched is in `tests/deploy/control`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from forgeline.bundle import Bundle
from forgeline.launching.local_ray import LocalRay
from forgeline.spec.envelope import Resources
from forgeline_deploy.serving.ingress import listen
from forgeline_deploy.serving.spec import ServeConfig
from forgeline_deploy.serving.stack import ServedVersion, Stack
from forgeline_deploy.serving.traffic import OneVersion
from tests.deploy.serving.conftest import ROW, folder_recorder

pytestmark = pytest.mark.ray

_WITHIN_S = 90
RESOURCES = Resources(workers=2, cpus_per_worker=0.5)
# Batches of one, so that a few clients are more than a replica takes.
SERVE = {"replicas": "1..2", "max_batch": 1, "batch_wait": "1ms", "scale_up_after": "1s", "scale_down_after": "1s"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def stack(bundle: Bundle, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    ray = LocalRay(cpus=2)
    ray.start(RESOURCES)
    own = stack_of("a1b2c3", port, log=str(tmp_path_factory.mktemp("log")), recorder=folder_recorder(recorded))
    try:
        own.start(version(bundle, "1"), OneVersion("1"))
        yield own
    finally:
        ray.stop()


def stack_of(deployment: str, port: int = 8000, **more: Any) -> Stack:
    config = ServeConfig.model_validate(SERVE | {"port": port})
    return Stack(deployment=deployment, model="customers", config=config, resources=RESOURCES, **more)


def version(bundle: Bundle, name: str) -> ServedVersion:
    return ServedVersion(version=name, bundle=str(bundle.folder), digest=bundle.digest)


def replicas(stack: Stack) -> int:
    """As many as the ingress sends batches to."""
    return int(stack.ask_ingress("status")["lanes"]["1"]["replicas"])


class Load:
    """Clients that ask one after the other, and count how it went."""

    def __init__(self, url: str, *, clients: int, pause_s: float = 0.0) -> None:
        self._url, self._clients, self._pause_s = url, clients, pause_s
        self.counted: Counter[str] = Counter()

    async def until(self, done: Callable[[], bool]) -> Counter[str]:
        """Ask until something is so, which is looked at five times a second."""
        over = asyncio.Event()
        limits = httpx.Limits(max_connections=self._clients)
        async with httpx.AsyncClient(base_url=self._url, timeout=60, limits=limits) as client:
            asking = [asyncio.create_task(self._one(client, over)) for _ in range(self._clients)]
            async with asyncio.timeout(_WITHIN_S):
                while not await asyncio.to_thread(done):
                    await asyncio.sleep(0.2)
            over.set()
            await asyncio.gather(*asking)
        return self.counted

    async def _one(self, client: httpx.AsyncClient, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                answer = await client.post("/predict", json={"instances": [ROW]})
                self.counted[f"{answer.status_code} {answer.headers.get('X-Model-Version')}"] += 1
            except httpx.ConnectError:
                # Nobody listens any more: this request was never taken.
                self.counted["not taken"] += 1
                await asyncio.sleep(0.05)
            except httpx.HTTPError as error:
                self.counted[type(error).__name__] += 1
            await asyncio.sleep(self._pause_s)


def test_it_predicts_what_the_bundle_predicts(stack: Stack, bundle: Bundle) -> None:
    answer = httpx.post(f"{stack.url}/predict", json={"instances": [ROW, ROW | {"age": 20}]}, timeout=30)
    expected = bundle.predict([ROW, ROW | {"age": 20}])["probability[yes]"]
    assert [row["probability[yes]"] for row in answer.json()["predictions"]] == pytest.approx(list(expected))
    metrics = httpx.get(f"{stack.url}/metrics").text
    assert 'forgeline_samples_total{version="1"} 2.0' in metrics


def test_replicas_follow_the_load_and_no_request_fails(stack: Stack) -> None:
    busy = asyncio.run(Load(stack.url, clients=8).until(lambda: replicas(stack) == 2))
    calm = asyncio.run(Load(stack.url, clients=1, pause_s=0.1).until(lambda: replicas(stack) == 1))
    assert set(busy) == set(calm) == {"200 1"}


def test_the_end_answers_what_was_asked_and_gives_away_what_was_recorded(stack: Stack, recorded: Path) -> None:
    text = httpx.get(f"{stack.url}/metrics").text
    before = float(text.partition('forgeline_samples_total{version="1"} ')[2].partition("\n")[0])
    load = Load(stack.url, clients=4)

    async def scene() -> bool:
        async def stop() -> bool:
            await asyncio.sleep(0.5)
            return await asyncio.to_thread(stack.drain, 20.0)

        stopping = asyncio.create_task(stop())
        await load.until(stopping.done)
        return await stopping

    # What is taken down is found by its name: that of another deployment is not, that of an earlier driver is.
    stack_of("a1b2c4").keep(())
    resumed = stack_of("a1b2c3")
    assert set(resumed.status()) == {"model-1"}
    assert asyncio.run(scene())
    assert not resumed.status()
    assert set(load.counted) == {"200 1", "not taken"}, load.counted
    # Every sample that was answered was recorded by a replica, of which all but one are gone for long.
    rows = [np.load(file) for file in recorded.glob("*.npy")]
    assert len(rows) >= 2 and sum(len(one) for one in rows) >= before + load.counted["200 1"]
