"""Small models of each kind, and the application before an engine in this process: no Ray, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.preprocessing import (
    CaptionPreprocessing,
    ClassTarget,
    ImagePreprocessing,
    PairPreprocessing,
    ScaledTarget,
    SeriesPreprocessing,
    TextPreprocessing,
)
from forgeline.preprocessing.tokenization import CharacterTokenizer
from forgeline_deploy.serving.application import application
from forgeline_deploy.serving.front import Front
from forgeline_deploy.serving.intake import intake_of
from forgeline_deploy.serving.recorder import RecordedBatch, RecorderFactory, ReplicaIdentity
from forgeline_deploy.serving.replica import Engine, ReplicaOrder
from forgeline_deploy.serving.samples import Answers, Batch
from forgeline_deploy.serving.spec import ServeConfig
from forgeline_deploy.serving.traffic import OneVersion

ROW = {"age": 44, "usage": 12.5, "income": None, "plan": "pro"}
"""Of the table of `tests/deploy/conftest.py`."""


def folder_recorder(folder: Path) -> RecorderFactory:
    """Recorders that keep arrivals, and write them to a file of their own when their replica ends in good order.

    Inside, so that a worker needs no module of the tests.
    """

    class FolderRecorder:
        def __init__(self, bundle: Bundle, identity: ReplicaIdentity) -> None:
            self._file = folder / f"{identity.version}-{identity.replica}.npy"
            self._arrivals: list[float] = []

        def record(self, batch: RecordedBatch) -> None:
            self._arrivals += batch.arrivals

        def close(self) -> None:
            np.save(self._file, np.asarray(self._arrivals), allow_pickle=False)

    return FolderRecorder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Ten classes of 8x8 grey pictures, 0 to 16, fresh weights."""
    rng = np.random.default_rng(0)
    preprocessing = ImagePreprocessing.fit(
        rng.integers(0, 17, (50, 8, 8, 1)), target=ClassTarget.fit("digit", range(10)), pixel_max=16.0
    )
    return saved(
        tmp_path_factory.mktemp("pictures") / "bundle",
        {"name": "mlp", "hidden": [8]},
        {
            "task": "classification",
            "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}},
            "outputs": [10],
        },
        preprocessing,
    )


def saved(folder: Path, architecture: dict[str, Any], signature: dict[str, Any], preprocessing: Any) -> Bundle:
    """A bundle with fresh weights."""
    import torch

    found = cast("Any", plugins.find(plugins.ARCHITECTURES, architecture["name"], key="architecture.name"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = found.build_model(architecture, signature)
    return Bundle.save(
        folder,
        model_state=model.state_dict(),
        architecture=architecture,
        signature=signature,
        preprocessing=preprocessing,
    )


class Local:
    """A deployment in this process: the whole way of a request, without the processes."""

    def __init__(self, bundle: Bundle, *, token_sha256: bytes | None = None, **settings: Any) -> None:
        self.bundle = bundle
        self.engine = Engine(order_of(bundle))
        self.front = Front("model", ServeConfig.model_validate(settings), OneVersion("1"))
        self.before: Callable[[Batch], Any] | None = None
        self.pieces = 0
        intake = intake_of(bundle, most_samples=self.front.config.max_queue, most_pixels=10_000)
        streams = bundle.task == "language_modelling"
        self.front.open("1", intake, self.call, self.stream if streams else None)
        self.app = application(self.front, token_sha256=token_sha256, body_s=0.2)

    async def call(self, batch: Batch) -> Answers:
        if self.before is not None:
            await self.before(batch)
        return self.engine.answer(batch)[0]

    async def stream(self, prompt: str, settings: Mapping[str, Any]) -> AsyncGenerator[str]:
        for piece in self.engine.texts(prompt, settings):
            self.pieces += 1
            yield piece
            await asyncio.sleep(0)  # others have their turn, as they have while a replica writes

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request."""
        return self.together([(method, path, request)])[0]

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Several requests at a time."""

        async def all_of_them() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return list(await asyncio.gather(*(client.request(m, path, **more) for m, path, more in requests)))

        return asyncio.run(all_of_them())


def order_of(bundle: Bundle, **settings: Any) -> ReplicaOrder:
    """A replica of a bundle on the CPU."""
    order: dict[str, Any] = {"deployment": "run", "version": "1", "bundle": str(bundle.folder)}
    order |= {"digest": bundle.digest, "max_batch": 8, "max_pixels": 10_000, "device": "cpu"}
    return ReplicaOrder(**order | settings)


@pytest.fixture(scope="session")
def table(bundle: Bundle) -> Local:
    """Customers of `tests/deploy/conftest.py`."""
    return Local(bundle, max_batch=8, max_queue=32, batch_wait="1ms")


@pytest.fixture(scope="session")
def images(pictures: Bundle) -> Local:
    return Local(pictures, max_batch=8, max_queue=32, batch_wait="1ms")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """A tiny language model of single characters."""
    tokenizer = CharacterTokenizer.fit(["abcdefgh ü"], documents=False)
    bundle = saved(
        tmp_path_factory.mktemp("texts") / "bundle",
        {"name": "gpt", "layers": 1, "heads": 2, "width": 16},
        {
            "task": "language_modelling",
            "inputs": {"tokens": {"shape": [8], "dtype": "int64"}},
            "outputs": [tokenizer.size],
        },
        TextPreprocessing(tokenizer=tokenizer, context=8),
    )
    return Local(bundle, max_batch=8, max_queue=32, batch_wait="1ms")


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """Series of two channels and up to six steps, of three classes."""
    preprocessing = SeriesPreprocessing(
        channels=("a", "b"), mean=(0.0, 1.0), std=(1.0, 2.0), window=6, varied=True,
        target=ClassTarget.fit("shape", ["flat", "steep", "wavy"]),
    )  # fmt: skip
    inputs = {"series": {"shape": [6, 2], "dtype": "float32"}, "length": {"shape": [], "dtype": "int64"}}
    return Local(
        saved(
            tmp_path_factory.mktemp("series") / "bundle",
            {"name": "gru", "hidden": 8},
            {"task": "classification", "inputs": inputs, "outputs": [3]},
            preprocessing,
        ),
        max_batch=8, max_queue=32, batch_wait="1ms",
    )  # fmt: skip


@pytest.fixture(scope="session")
def forecasts(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """Two steps ahead of one channel, from the last four."""
    preprocessing = SeriesPreprocessing(
        channels=("spots",), mean=(3.0,), std=(2.0,), window=4, horizon=2,
        target=ScaledTarget(names=("spots",), mean=(3.0,), std=(2.0,), horizon=2),
    )  # fmt: skip
    signature = {"task": "forecasting", "inputs": {"series": {"shape": [4, 1], "dtype": "float32"}}, "outputs": [2, 1]}
    folder = tmp_path_factory.mktemp("forecasts") / "bundle"
    return Local(saved(folder, {"name": "gru", "hidden": 8}, signature, preprocessing), batch_wait="1ms")


@pytest.fixture(scope="session")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """Words for colour pictures of 32x32."""
    rng = np.random.default_rng(0)
    image = ImagePreprocessing.fit(
        rng.integers(0, 256, (8, 32, 32, 3)), target=ClassTarget.fit("none", ["none"]), pixel_max=255.0
    )
    preprocessing = CaptionPreprocessing(image=image, words=("a", "red", "dot", "line"), length=5)
    encoder = {"name": "resnet10t", "options": {"channels": [8, 8, 16, 16]}}
    inputs = {"image": {"shape": [3, 32, 32], "dtype": "float32"}, "previous": {"shape": [5], "dtype": "int64"}}
    signature = {"task": "translation", "inputs": inputs, "outputs": [preprocessing.vocabulary_size]}
    architecture = {"name": "captioner", "encoder": encoder, "embedding": 5, "hidden": 8}
    return Local(
        saved(tmp_path_factory.mktemp("captions") / "bundle", architecture, signature, preprocessing),
        max_batch=8, max_queue=32, batch_wait="1ms",
    )  # fmt: skip


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """Words of up to five letters, and what becomes of them."""
    preprocessing = PairPreprocessing(symbols=tuple("abcdeé"), source_length=5, target_length=6)
    inputs = {
        "source": {"shape": [5], "dtype": "int64"},
        "length": {"shape": [], "dtype": "int64"},
        "previous": {"shape": [6], "dtype": "int64"},
    }
    signature = {"task": "translation", "inputs": inputs, "outputs": [preprocessing.vocabulary_size]}
    architecture = {"name": "seq2seq", "attention": "additive", "hidden": 8}
    return Local(
        saved(tmp_path_factory.mktemp("pairs") / "bundle", architecture, signature, preprocessing),
        max_batch=8, max_queue=32, batch_wait="1ms",
    )  # fmt: skip
