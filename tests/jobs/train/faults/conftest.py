from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import UsageError
from tests.jobs.train.faults.scene import Outcome, Scene
from tests.platform.tracking.servers import Proxy, Server


@pytest.fixture
def scene(faulty: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scene]]:
    """Makes a run in a FORGELINE_HOME of its own; what still goes on at the end is cancelled."""
    made: list[Scene] = []
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def make(**changes: Any) -> Scene:
        made.append(Scene(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        if one.run is not None:
            with suppress(UsageError):  # it has ended
                one.run.cancel()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[Outcome], None]:
    """Keeps an outcome for the table of faults."""
    return lambda outcome: record_property("outcome", outcome.to_row())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A tracking server that runs use."""
    found = Server(tmp_path / "mlflow.db")
    found.wait()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{found.port}")
    yield found
    found.kill()


@pytest.fixture
def proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """Stands between runs and the server."""
    found = Proxy(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    return found
