"""A kind of job for tests, installed as a plug-in that the driver's and the workers' processes find as well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCE_ROOTS = [REPOSITORY / name for name in ("platform", "architectures", "jobs", "deploy")]

TOY = '''
"""A kind that counts to `steps`, in a Ray task, and can misbehave on demand."""

import os
import time
from typing import Literal

from forgeline.errors import RunCancelled, RunFailed, SpecError
from forgeline.kinds import KindDescriptor
from forgeline.spec.envelope import Envelope
from pydantic import Field


class ToySpec(Envelope):
    kind: Literal["toy"] = Field(description="The kind of job.")
    steps: int = Field(default=3, description="How far to count.")
    step_s: float = Field(default=0.01, description="Seconds per step.")
    wrong: bool = Field(default=False, description="Fail the check.")
    end: Literal["well", "failure", "bug", "death"] = Field(default="well", description="How to end.")
    deaf: bool = Field(default=False, description="Do not listen to a wish to stop.")


class Toy:
    def check(self, spec):
        if spec.wrong:
            raise SpecError("wrong is true; only false is allowed", key="wrong")
        return {"samples": {"train": spec.steps, "val": 2}, "columns": {"numeric": ["a", "b"]}, "missing": {}}

    def execute(self, context):
        import ray
        from forgeline.tracking.spool import Spool

        spec = context.spec
        path = context.paths.spool(attempt=context.attempt, rank=0)

        @ray.remote
        def environment():
            print("the worker speaks")
            return {"omp": os.environ.get("OMP_NUM_THREADS"), "address": ray.util.get_node_ip_address()}

        seen = ray.get(environment.remote())
        log = context.paths.rank_log(attempt=context.attempt, rank=0)
        done = context.resume_from.joinpath("step") if context.resume_from else None
        first = int(done.read_text()) if done is not None and done.exists() else 0
        if context.resume_from:
            context.tell_attempt("resume", step=first)
        context.watch_spool(path)
        context.paths.checkpoints.mkdir(exist_ok=True)
        spool = Spool(path)
        with log.open("w") as file:
            for step in range(first + 1, spec.steps + 1):
                time.sleep(spec.step_s)
                spool.metrics(step, {"train/loss": 1 / step})
                spool.event("step", step=step, steps=spec.steps, epoch=1, epochs=1, loss=1 / step, metrics={})
                file.write(f"step {step}\\n")
                file.flush()
                context.paths.checkpoints.joinpath("step").write_text(str(step))
                spool.event("checkpoint", step=step, path="step")
                if context.cancel_requested() and not spec.deaf:
                    raise RunCancelled("stopped as asked")
                if step == 2 and spec.end == "failure":
                    raise RunFailed("the toy broke", reason="hang")
                if step == 2 and spec.end == "bug":
                    raise ZeroDivisionError("a bug in the toy")
                if step == 2 and spec.end == "death":
                    os.kill(os.getpid(), 9)
        spool.close()
        return {"metrics": {"val/loss": 1 / spec.steps}, "first": first, **seen}


DESCRIPTOR = KindDescriptor(name="toy", help="Counts.", spec="toykind:ToySpec", implementation="toykind:Toy")


def hello():
    """Say hello."""
    print("hello from a plug-in")
'''


@pytest.fixture(scope="session")
def plugins_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on PYTHONPATH, adds the kind `toy` and the command `hello`."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "toykind.py").write_text(TOY, encoding="utf-8")
    (folder / "toycommand.py").write_text(
        "from forgeline.cli.commands import CommandDescriptor\n"
        "HELLO = CommandDescriptor(name='hello', help='Say hello.', command='toykind:hello')\n",
        encoding="utf-8",
    )
    information = folder / "toy-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n", encoding="utf-8")
    (information / "entry_points.txt").write_text(
        "[forgeline.kinds]\ntoy = toykind:DESCRIPTOR\n\n[forgeline.commands]\nhello = toycommand:HELLO\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def toy_environment(plugins_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a user who has the toy installed and a home of their own."""
    from forgeline import plugins

    path = os.pathsep.join([str(plugins_folder), *map(str, SOURCE_ROOTS), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(plugins_folder))
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGELINE_LOCAL_CPUS", "2")
    for name in ("MLFLOW_TRACKING_URI", "FORGELINE_TRACKING_URI", "FORGELINE_LEDGER_URL", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    plugins._entries.cache_clear()
    yield dict(os.environ)
    plugins._entries.cache_clear()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow store; creating one takes seconds, copying it does not."""
    from forgeline.tracking.tracker import Tracker

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Tracker(f"sqlite:///{path}").check()
    return path


@pytest.fixture
def home(toy_environment: dict[str, str], tmp_path: Path, empty_store: Path) -> Path:
    """The user's FORGELINE_HOME, with a store that exists already."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def toy_spec(tmp_path: Path) -> Callable[..., Path]:
    """Writes a specification of a toy run."""

    def write(name: str = "count", **keys: object) -> Path:
        path = tmp_path / f"{name}.yaml"
        lines = ["kind: toy", f"name: {name}", *(f"{key}: {value}" for key, value in keys.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


Forgeline = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def forgeline(toy_environment: dict[str, str], tmp_path: Path) -> Forgeline:
    """Runs the command line in a process of its own."""

    def call(*arguments: object, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "forgeline.cli.app", *map(str, arguments)],
            env=toy_environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def processes(tmp_path: Path) -> Callable[[], list[str]]:
    """Names of the processes that work for this test's home, Ray's daemons included: they inherit its variable."""
    home = str(tmp_path / "home")

    def living() -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FORGELINE_HOME") == home and process.pid != os.getpid():
                    found.append(f"{process.pid} {process.name()}")
            except psutil.Error:
                continue
        return found

    return living
