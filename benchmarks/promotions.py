"""Promotions that race: each names the version that the alias must have until then, and is refused where it moved.

    pip install --group bench          # a PostgreSQL server and its driver, where none is on the path
    make acceptance ONLY=promotion

Processes promote versions of one model, each from what it has just read, until they have made so many moves together.
Every move that was acknowledged must be in the history once, and nothing else; each must start where the one before it
ended; the chain of hashes must fit; and MLflow's alias must be where the last row says.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.postgresql import running
from forgeline.errors import AliasMoved
from forgeline.ledger.alias_history import AliasHistory
from forgeline.registry.models import CHAMPION, Lineage, Registry
from forgeline.tracking.tracker import Tracker

Say = Callable[[str], None]

PROMOTIONS, PROCESSES, VERSIONS = 1000, 8, 4
MODEL = "raced"


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where the race is.

    Attributes:
        tracking: URI of MLflow's store.
        ledger: SQLAlchemy URL of the ledger.
        home: folder for the bundles of the versions.
    """

    tracking: str
    ledger: str
    home: Path

    def registry(self) -> Registry:
        """A registry on them, as every process opens one for itself."""
        return Registry(Tracker(self.tracking, (self.home / "artifacts").as_uri()), self.ledger, home=self.home)


@dataclass(frozen=True, kw_only=True)
class Racer:
    """What one process made.

    Attributes:
        made: hash of each move that was acknowledged.
        seconds: how long each took, the wait for the turn included.
        refused: promotions whose alias had moved underneath.
    """

    made: list[str]
    seconds: list[float]
    refused: int


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Stores]:
    """Two SQLite files."""
    yield Stores(tracking=f"sqlite:///{folder / 'mlflow.db'}", ledger=f"sqlite:///{folder / 'ledger.db'}", home=folder)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[Stores]:
    """Two databases of a PostgreSQL server of its own."""
    with running(folder) as server:
        server.create("mlflow", "ledger")
        yield Stores(tracking=server.url("mlflow"), ledger=server.url("ledger"), home=folder)


STORES = {"SQLite": sqlite, "PostgreSQL": postgresql}


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The rows of the group."""
    return {f"{PROMOTIONS:,} over {PROCESSES} processes, {name}": partial(measured, say, name) for name in STORES}


def measured(say: Say, store: str) -> dict[str, Any]:
    """A whole race on one kind of store."""
    # Short: the path of PostgreSQL's socket has little room.
    with tempfile.TemporaryDirectory(prefix="fl") as folder, STORES[store](Path(folder)) as stores:
        return race(say, stores, promotions=PROMOTIONS, processes=PROCESSES)


def race(say: Say, stores: Stores, *, promotions: int, processes: int) -> dict[str, Any]:
    """Let processes promote at once, and hold what they were told against what is there afterwards.

    Args:
        promotions: moves that all processes make together.
    """
    registry = stores.registry()
    _register(registry, stores)
    shares = [promotions // processes + (number < promotions % processes) for number in range(processes)]
    started = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        racers = list(pool.map(promote, [stores] * processes, shares, range(processes)))
    seconds = time.perf_counter() - started
    made = Counter(digest for racer in racers for digest in racer.made)
    history = registry.history(MODEL)
    kept = Counter(str(move.hash) for move in history)
    [chain] = AliasHistory(stores.ledger).chains(MODEL)
    last = registry.version(MODEL, alias=CHAMPION).version
    row = {
        "metric": "promotions that are in the history",
        "measured": sum((made & kept).values()),
        "asked": promotions,
        "acknowledged": made.total(),
        "lost": (made - kept).total(),
        "twice": sum(count > 1 for count in kept.values()),
        "nobody_was_told": (kept - made).total(),
        "gaps": sum(move.from_version != before.to_version for before, move in zip(history, history[1:], strict=False)),
        "refused": sum(racer.refused for racer in racers),
        "chain": chain.fault or "fits",
        "alias_is_last_row": history[-1].to_version == last,
        "seconds": round(seconds, 1),
        "promotion_ms_p50": round(1000 * statistics.median(took for racer in racers for took in racer.seconds), 1),
    }
    row["met"] = (
        row["measured"] == row["acknowledged"] == len(history) == promotions
        and row["twice"] == row["gaps"] == 0
        and chain.fault is None
        and history[-1].to_version == last
    )
    say(f"{row['acknowledged']} promotions and {row['refused']} refusals in {row['seconds']} s")
    return row


def promote(stores: Stores, promotions: int, seed: int) -> Racer:
    """Promote versions, each from what the alias is seen to be, until so many moves are made."""
    registry = stores.registry()
    draw = random.Random(seed)
    made: list[str] = []
    seconds: list[float] = []
    refused = 0
    while len(made) < promotions:
        seen = next((one.version for one in registry.show(MODEL) if CHAMPION in one.aliases), None)
        target = draw.choice([number for number in range(1, VERSIONS + 1) if number != seen])
        expect: int | Literal["none"] = "none" if seen is None else seen
        started = time.perf_counter()
        try:
            move = registry.promote(MODEL, target, expect=expect, why=f"process {seed}")
        except AliasMoved:
            refused += 1
        else:
            seconds.append(time.perf_counter() - started)
            made.append(str(move.hash))
    return Racer(made=made, seconds=seconds, refused=refused)


def _register(registry: Registry, stores: Stores) -> None:
    folder = stores.home / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    (folder / "bundle.json").write_text("{}", encoding="utf-8")
    run_id = Tracker(stores.tracking, (stores.home / "artifacts").as_uri()).create_run("races", MODEL)
    lineage = Lineage(data_fingerprint="none", spec="")
    for _ in range(VERSIONS):
        registry.register(name=MODEL, mlflow_model_folder=folder, run_id=run_id, metrics={}, lineage=lineage)
