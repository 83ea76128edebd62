"""The stack on a real Ray Serve: predictions, and the end. What is killed and switched is in `tests/deploy/control`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

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

RESOURCES = Resources(workers=2, cpus_per_worker=0.5)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def stack(bundle: Bundle, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    ray = LocalRay(cpus=2)
    ray.start(RESOURCES)
    own = Stack(
        deployment="a1b2c3",
        model="customers",
        config=ServeConfig.model_validate({"replicas": 2, "port": port, "batch_wait": "2ms"}),
        resources=RESOURCES,
        log=str(tmp_path_factory.mktemp("log")),
        recorder=folder_recorder(recorded),
    )
    try:
        own.start(version(bundle, "1"), OneVersion("1"))
        yield own
    finally:
        ray.stop()


def version(bundle: Bundle, name: str) -> ServedVersion:
    return ServedVersion(version=name, bundle=str(bundle.folder), digest=bundle.digest)


class Load:
    """Clients that ask one after the other, and count how it went."""

    def __init__(self, url: str, *, clients: int = 4) -> None:
        self._url = url
        self._clients = clients
        self.counted: Counter[str] = Counter()
        self.until_refused = False

    async def run(self, meanwhile: asyncio.Task[None] | None, seconds: float) -> Counter[str]:
        until = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=self._clients)
        async with httpx.AsyncClient(base_url=self._url, timeout=60, limits=limits) as client:
            await asyncio.gather(*(self._one(client, until) for _ in range(self._clients)))
        if meanwhile is not None:
            await meanwhile
        return self.counted

    async def _one(self, client: httpx.AsyncClient, until: float) -> None:
        while time.monotonic() < until:
            try:
                answer = await client.post("/predict", json={"instances": [ROW]})
                self.counted[f"{answer.status_code} {answer.headers.get('X-Model-Version')}"] += 1
            except httpx.ConnectError:
                # Nobody listens any more: this request was never taken.
                self.counted["not taken"] += 1
                await asyncio.sleep(0.05)
            except httpx.HTTPError as error:
                self.counted[type(error).__name__] += 1


def test_it_predicts_what_the_bundle_predicts(stack: Stack, bundle: Bundle) -> None:
    answer = httpx.post(f"{stack.url}/predict", json={"instances": [ROW, ROW | {"age": 20}]}, timeout=30)
    expected = bundle.predict([ROW, ROW | {"age": 20}])["probability[yes]"]
    assert [row["probability[yes]"] for row in answer.json()["predictions"]] == pytest.approx(list(expected))
    metrics = httpx.get(f"{stack.url}/metrics").text
    assert 'forgeline_samples_total{version="1"} 2.0' in metrics


def test_the_end_answers_what_was_asked_and_gives_away_what_was_recorded(stack: Stack, recorded: Path) -> None:
    async def scene() -> tuple[Counter[str], bool]:
        async def stop() -> bool:
            await asyncio.sleep(0.5)
            return await asyncio.to_thread(stack.drain, 20.0)

        stopping = asyncio.create_task(stop())
        load = Load(stack.url)
        while not stopping.done():
            await load.run(None, 0.5)
        return load.counted, await stopping

    counted, drained = asyncio.run(scene())
    assert drained
    assert set(counted) == {"200 1", "not taken"}, counted
    rows = [np.load(file) for file in recorded.glob("*.npy")]
    # Every sample that was answered was recorded by one of the replicas, once.
    assert sum(len(one) for one in rows) >= counted["200 1"]
