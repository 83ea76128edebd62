"""The whole loop from one YAML file: the world moves, an alarm stands, a model is trained again, and takes over.

    make acceptance ONLY=loop

A LeNet that was trained on 3,600 MNIST digits is served and asked about others, again and again, by clients that also
bring the true labels some seconds later. After a while the pictures are rotated and darkened in steps. Nobody does
anything but ask: the labelled accuracy falls below its bound, one training is launched on the original digits and on
what was asked, its model passes the gate against the champion on the same samples, sees the traffic as a shadow, gets
its shares, and becomes champion. No request may fail. How well the new champion does is told by 400 digits that nobody
had asked about, and no model was trained on, before it was champion.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from forgeline_deploy.serving.ingress import listen
from forgeline_jobs.data.builtin_images import read_mnist5k

Say = Callable[[str], None]

REQUESTS, CLIENTS = 10_000, 4
STEPS: Mapping[int, tuple[float, float]] = {0: (0.0, 1.0), 2_000: (10.0, 0.9), 2_200: (20.0, 0.75), 2_400: (30.0, 0.6)}
"""Number of the request from which on pictures are rotated by so many degrees, and how bright they are."""
WITHIN = 0.02
HELD_BACK = 400
_SEED = 0
_JITTER = 8.0
"""Degrees by which no two pictures are rotated alike, once they are."""
_LABELS_EVERY_S = 5.0
_LONGEST_S = 1_500.0

_TRAIN = """\
kind: train
name: digits
architecture: ARCHITECTURE
data: {name: mnist5k, batch_size: 64AUGMENT}
optimizer: {lr: 2e-3, schedule: cosine}
trainer: {epochs: EPOCHS, seed: 0}
register:
  model: digits
  gate:
    - {metric: val/accuracy, at_least: 0.85}
    - {metric: val/accuracy, beats: champion, confidence: 0.95}
"""
_WIDER = "{name: lenet, filters: [32, 64], hidden: [128], activation: relu, pooling: max, dropout: 0.3}"
_AUGMENT = ", augment: {rotate: 40, shift: 2, scale: 0.1, brightness: 0.4}"
_DEPLOYMENT = """\
kind: deployment
name: digits
model: models:/digits@champion
serve: {port: PORT}
resources: {cpus_per_worker: 0.5}
rollout:
  challenger: models:/digits@challenger
  mode: shadow -> canary 5% -> 25% -> 100%
  hold: 5s
  requests: 50
  compare: {metric: error_rate, worse_by: 0.02, confidence: 0.95}
  guard: {errors: 1%}
monitor:
  window: 5s
  promise: {false_alarms: 1 per 12h}
  lateness: 1s
  silent: 4s
  bounds: {accuracy: 90%}
  labels: {path: LABELS/*.parquet, key: request_id}
  sample_payloads: 2000
  alert: [{log: true}]
  retrain:
    spec: retrain.yaml
    when: harm
    at_most: 1 per 7d
    cooldown: 12h
    approve: auto
    data: {least: 5000, most: 5000, since: 1h, held_out: recent, val: 0.1, test: 0.1}
"""


@dataclass
class World:
    """What is asked, and what was answered.

    Attributes:
        pixels, digits: what is asked about; the last 400 only once `new` is set.
        failed: answers that were none, by what they were.
        right: number of each request, and whether it was answered rightly.
        versions: that answered, by request.
    """

    url: str
    labels: Path
    pixels: NDArray[np.uint8]
    digits: NDArray[np.int64]
    failed: Counter[str] = field(default_factory=Counter)
    right: dict[int, bool] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)
    asked: int = 0
    new: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: list[tuple[str, str]] = field(default_factory=list)

    def ask(self) -> None:
        """One client, that asks until it is ended; nothing is asked twice."""
        with httpx.Client(timeout=60) as client:
            while not self.ended.is_set():
                with self._lock:
                    number, self.asked = self.asked, self.asked + 1
                digit = int(self.digits[self.place(number)])
                body = {"instances": [self._picture(number).tolist()]}
                name = f"request-{number}"
                try:
                    answer = client.post(f"{self.url}/predict", json=body, headers={"X-Request-Id": name})
                    told = answer.json() if answer.status_code == 200 else None
                except (httpx.HTTPError, ValueError) as error:
                    self.failed[type(error).__name__] += 1
                    continue
                if told is None:
                    self.failed[str(answer.status_code)] += 1
                    continue
                with self._lock:
                    self.right[number] = int(told["predictions"][0]["prediction"]) == digit
                    self.versions[number] = told["version"]
                    self._waiting.append((name, str(digit)))
                time.sleep(0.05)

    def bring_labels(self) -> None:
        """What turned out to be true, some seconds later, in files that appear whole."""
        number = 0
        while not self.ended.wait(_LABELS_EVERY_S):
            with self._lock:
                known, self._waiting = self._waiting, []
            if known:
                table = pa.table({"request_id": [name for name, _ in known], "label": [label for _, label in known]})
                pq.write_table(table, self.labels / f".{number}")
                os.replace(self.labels / f".{number}", self.labels / f"{number:06d}.parquet")
                number += 1

    def accuracy(self, numbers: range) -> float:
        """Share of these requests that was answered rightly."""
        found = [self.right[number] for number in numbers if number in self.right]
        return sum(found) / len(found) if found else float("nan")

    def _picture(self, number: int) -> NDArray[np.uint8]:
        turned, bright = STEPS[max(step for step in STEPS if step <= number)]
        return moved(self.pixels[self.place(number), :, :, 0], turned, bright, seed=number)

    def place(self, number: int) -> int:
        """Which digit a request is about."""
        known = len(self.digits) - HELD_BACK
        if self.new is not None and number >= self.new:
            return known + (number - self.new) % HELD_BACK
        return number % known


def moved(pixels: NDArray[np.uint8], turned: float, bright: float, *, seed: int) -> NDArray[np.uint8]:
    """A picture [28, 28] as the world has it by now."""
    angle = turned + (float(np.random.default_rng(seed).uniform(-_JITTER, _JITTER)) if turned else 0.0)
    image = Image.fromarray(pixels).rotate(angle, resample=Image.Resampling.BILINEAR)
    return (np.asarray(image) * bright).astype(np.uint8)


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The group `loop`."""
    return {"mnist5k, served and moved": partial(measure, say)}


def measure(say: Say) -> dict[str, Any]:
    """Go through all of it once."""
    with tempfile.TemporaryDirectory(prefix="forgeline-loop-") as folder:
        return _loop(Path(folder), say)


def _loop(folder: Path, say: Say) -> dict[str, Any]:
    home, labels = folder / "home", folder / "labels"
    labels.mkdir()
    (folder / "train.yaml").write_text(_training("{name: lenet}", "", 12))
    # Whoever trains on what was asked, by few digits again and again, has to see to it that the model learns no digits
    # by heart, and that those which nobody asked about are seen as the world may have them.
    (folder / "retrain.yaml").write_text(_training(_WIDER, _AUGMENT, 20))
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    spec = folder / "deployment.yaml"
    spec.write_text(_DEPLOYMENT.replace("PORT", str(port)).replace("LABELS", str(labels)))
    began = time.monotonic()
    _forgeline("run", folder / "train.yaml", home=home)
    say(f"trained after {time.monotonic() - began:.0f} s")
    pixels, digits, split = read_mnist5k()
    # In the data set digits lie by class: asked in that order they would drift from the first window on.
    asked = np.random.default_rng(_SEED).permutation(np.concatenate([split.val, split.test]))
    world = World(f"http://127.0.0.1:{port}", labels, pixels[asked], digits[asked])
    with (folder / "deployment.log").open("w") as log:
        run = subprocess.Popen(_command("run", spec), env=_environment(home), stdout=log, stderr=subprocess.STDOUT)
    threads = [threading.Thread(target=world.ask) for _ in range(CLIENTS)]
    threads.append(threading.Thread(target=world.bring_labels))
    try:
        _wait(lambda: _ready(world.url), 180)
        for thread in threads:
            thread.start()
        _follow(world, home, say)
    finally:
        world.ended.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        standing = _standing(home)
        run.send_signal(signal.SIGINT)
        run.wait(120)
        say((folder / "deployment.log").read_text()[-3000:])
    return _row(world, standing, _before(world, home), time.monotonic() - began)


def _training(architecture: str, augment: str, epochs: int) -> str:
    spec = _TRAIN.replace("ARCHITECTURE", architecture)
    return spec.replace("AUGMENT", augment).replace("EPOCHS", str(epochs))


def _before(world: World, home: Path) -> float:
    """How well the first champion did on the digits that were held back, as they were."""
    from forgeline.bundle import Bundle
    from forgeline.registry.models import Registry
    from forgeline.tracking.tracker import Tracker

    tracker = Tracker(f"sqlite:///{home / 'mlflow.db'}", (home / "artifacts").as_uri())
    first = Registry(tracker, f"sqlite:///{home / 'ledger.db'}", home=home).resolve("models:/digits/1")
    found = Bundle.load(first).predict(world.pixels[-HELD_BACK:])["prediction"].astype(int).to_numpy()
    return float((found == world.digits[-HELD_BACK:]).mean())


def _follow(world: World, home: Path, say: Say) -> None:
    """Return when the new champion has answered 1,000 requests, and there were enough."""
    until, told = time.monotonic() + _LONGEST_S, ""
    while time.monotonic() < until:
        standing = _standing(home)
        newest = [number for number, version in list(world.versions.items()) if version == "2"]
        now = f"rollout {standing['rollout']}, retrainings {standing['retrainings']}"
        if now != told:
            say(f"{world.asked} asked: {now}; accuracy of the last 200: {_last(world):.3f}")
            told = now
        if standing["rollout"] == "settled" and world.new is None:
            world.new = world.asked + CLIENTS
        if world.new is not None and len([n for n in newest if n >= world.new]) > 800 and world.asked >= REQUESTS:
            return
        time.sleep(2)


def _last(world: World) -> float:
    return world.accuracy(range(max(world.asked - 200, 0), world.asked))


def _row(world: World, standing: Mapping[str, Any], before: float, seconds: float) -> dict[str, Any]:
    answered = len(world.right)
    at_worst = min(
        (world.accuracy(range(start, start + 500)) for start in range(2_500, max(answered - 500, 2_501), 250)),
        default=float("nan"),
    )
    after = world.accuracy(range(world.new, world.new + 800)) if world.new is not None else float("nan")
    passed = (
        not world.failed
        and answered >= REQUESTS
        and standing["retrainings"] == ["passed"]
        and standing["rollout"] == "settled"
        and standing["champion"] == 2
        and after >= before - WITHIN
    )
    return {
        "bar": "0 failed of 10,000, one retraining, promoted, accuracy within 0.02 of before",
        "requests": answered,
        "failed": dict(world.failed),
        "retrainings": standing["retrainings"],
        "rollout": standing["rollout"],
        "champion": standing["champion"],
        "steps": standing["steps"],
        "accuracy_before": round(before, 4),
        "accuracy_at_worst": round(at_worst, 4),
        "accuracy_after": round(after, 4),
        "seconds": round(seconds, 1),
        "met": passed,
    }


def _standing(home: Path) -> dict[str, Any]:
    """How the deployment stands, by its journal."""
    from forgeline.ledger.ledger import Ledger
    from forgeline_deploy.control.plan import plan_of
    from forgeline_deploy.retraining.retraining import Retrainings

    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    [run] = ledger.list_runs(kind="deployment", limit=1)
    entries = ledger.journal(run.id)
    plan = plan_of(entries)
    from forgeline.ledger.journal import Journal

    retrainings = [str(each.outcome or each.stage) for each in Retrainings(Journal(ledger, run)).all]
    rollout = None if plan is None else plan.rollout
    return {
        "retrainings": retrainings,
        "rollout": None if rollout is None else rollout.status,
        "champion": None if plan is None else int(plan.champion.version),
        "steps": [str(e["why"])[:160] for e in entries if e.get("event") in ("rollout_advanced", "rollout_completed")],
    }


def _forgeline(*words: object, home: Path) -> None:
    done = subprocess.run(_command(*words), env=_environment(home), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"forgeline {words[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-500:]}"
        )


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "forgeline.cli.app", *map(str, words)]


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {"FORGELINE_HOME": str(home)}


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _wait(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise RuntimeError("the deployment did not come up")
        time.sleep(0.5)
