"""Clients that ask a deployment for rows of a table again and again, and keep what each request was answered."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

_PAUSE_S, _AGAIN_S = 0.03, 0.1
_LABELS_EVERY_S = 4.0
_CLOSE = 1e-4
"""Difference of two probabilities that a batch of another size may make."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A request that was answered with 200.

    Attributes:
        row: that was asked about.
        told: columns of the prediction.
        at: when the answer was there, unix seconds.
    """

    row: int
    version: str
    told: Mapping[str, Any]
    at: float


@dataclass
class SteadyClients:
    """Clients of one address.

    Attributes:
        rows: what is asked about, in turn.
        truth: the label of each row.
        labels: folder for files of labels.
        answered: by id of the request.
        refused: answers that were none, by status.
        sent_again: ids of requests whose connection was refused or cut; each was sent again until it was answered.
        mislead: bring wrong labels from now on.
    """

    url: str
    rows: Sequence[Mapping[str, Any]]
    truth: Sequence[str]
    labels: Path
    answered: dict[str, Answered] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    sent_again: set[str] = field(default_factory=set)
    mislead: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unlabelled: list[tuple[str, int]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def asking(self, clients: int) -> Iterator[None]:
        """Ask, and bring labels some seconds later, for as long as this lasts; every request is answered at its end."""
        threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        threads.append(threading.Thread(target=self._bring_labels))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def longest_silence_s(self, since: float) -> float:
        """Longest time between two answers since then, until now."""
        moments = sorted(one.at for one in list(self.answered.values()) if one.at >= since)
        return max(later - before for before, later in itertools.pairwise([since, *moments, time.time()]))

    def wrong(self, own: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
        """Requests whose answer is not the model's.

        Args:
            own: version -> what its model says of each row.
        """
        return [name for name, one in self.answered.items() if not _same(own[one.version][one.row], one.told)]

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._ended.is_set():
                with self._lock:
                    number = next(self._numbers)
                self._ask_until_answered(client, f"request-{number}", number % len(self.rows))
                time.sleep(_PAUSE_S)

    def _ask_until_answered(self, client: httpx.Client, name: str, row: int) -> None:
        body = {"instances": [self.rows[row]]}
        while True:
            try:
                answer = client.post(f"{self.url}/predict", json=body, headers={"X-Request-Id": name})
                break
            except httpx.TransportError:
                with self._lock:
                    self.sent_again.add(name)
                time.sleep(_AGAIN_S)
        with self._lock:
            if answer.status_code != 200:
                self.refused[answer.status_code] += 1
                return
            told = answer.json()
            self.answered[name] = Answered(
                row=row, version=told["version"], told=told["predictions"][0], at=time.time()
            )
            self._unlabelled.append((name, row))

    def _bring_labels(self) -> None:
        for number in itertools.count():
            if self._ended.wait(_LABELS_EVERY_S):
                return
            with self._lock:
                known, self._unlabelled = self._unlabelled, []
            names = [name for name, _ in known]
            table = pa.table({"request_id": names, "label": [self._label(row) for _, row in known]})
            pq.write_table(table, self.labels / f".{number}")
            os.replace(self.labels / f".{number}", self.labels / f"{number:06d}.parquet")

    def _label(self, row: int) -> str:
        # Of every second row that of another one, so that there is something wrong and something to learn.
        return self.truth[-1 - row] if self.mislead and row % 2 else self.truth[row]


def _same(own: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    return own.keys() == told.keys() and all(_equal(value, told[name]) for name, value in own.items())


def _equal(own: Any, told: Any) -> bool:
    return math.isclose(own, told, abs_tol=_CLOSE) if isinstance(own, float) else own == told
