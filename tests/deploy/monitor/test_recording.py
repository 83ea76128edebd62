"""A real bundle's batches through a replica's recording, a monitor and its store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from forgeline.bundle import Bundle
from forgeline.bundle.observer import observe
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor import Monitor, MonitorConfig, Stream, WindowStore
from forgeline_deploy.monitor.pane import Delivery, Receipt
from forgeline_deploy.monitor.recording import ReplicaRecording
from forgeline_deploy.serving.recorder import RecordedBatch, Recorder, ReplicaIdentity
from forgeline_deploy.serving.replica import Engine
from forgeline_deploy.serving.samples import Batch, Samples, Ticket
from tests.deploy.serving.conftest import order_of

Customers = Callable[[int, int], pd.DataFrame]
CONFIG = MonitorConfig.model_validate(
    {
        "window": "10s", "promise": {"false_alarms": "1 per 1h"}, "lateness": "1s", "silent": "2s",
        "labels": {"path": "labels/*.parquet"}, "sample_payloads": 3,
    }
)  # fmt: skip


def served(bundle: Bundle, rows: pd.DataFrame, *, at: float, name: str) -> RecordedBatch:
    """Rows that a replica answered at once, each of a request of its own."""
    raw = [
        {str(key): None if value != value else value for key, value in row.items()} for row in rows.to_dict("records")
    ]
    roles = ["shadow" if number % 4 == 3 else "champion" for number in range(len(rows))]
    tickets = [Ticket(request_id=f"{name}-{number}", arrival=at, role=role) for number, role in enumerate(roles)]
    engine = Engine(order_of(bundle, max_batch=64, recorder=unused))
    _, recorded = engine.answer(Batch([Samples("rows", [row]) for row in raw], tickets))
    assert recorded is not None
    return recorded


def unused(bundle: Bundle, identity: ReplicaIdentity) -> Recorder:
    raise AssertionError("nothing is recorded in the replica's thread here")


class Clock:
    now = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_replicas_record_is_what_the_rows_are(
    bundle: Bundle, customers: Customers, journal: Journal, tmp_path: Path, clock: Clock
) -> None:
    assert bundle.reference is not None
    store = WindowStore(tmp_path / "windows", journal)
    watching = Monitor(CONFIG, references={"3": bundle.reference}, store=store, id="c1", now=-10.0, tell=print)

    def send(delivery: Delivery) -> Receipt:
        return watching.receive(delivery, clock.now)

    replicas = [
        ReplicaRecording(
            bundle, replica=name, version="3", config=CONFIG, send=send, now=lambda: clock.now, every_s=3600.0
        )
        for name in "ab"
    ]
    tables = [customers(seed, 64) for seed in range(6)]
    clock.now = 4.0
    for number, table in enumerate(tables):
        replicas[number % 2].record(served(bundle, table, at=3.0, name=str(number)))
    for now in (4.0, 11.5):
        clock.now = now
        for replica in replicas:
            replica.panes.exchange(send)
    [stored] = watching.tick(11.5)
    window, _ = store.folder.read(stored)
    asked = pd.concat(tables, ignore_index=True)
    for role, chosen in (("champion", asked.index % 4 != 3), ("shadow", asked.index % 4 == 3)):
        part = window.parts[Stream(role, "3")]
        found, whole = part.tally.observation, observe(bundle, asked[chosen])
        # What a network makes of a row differs in the last bit by the rows beside it.
        assert found is not None and (found.rows, found.inputs) == (whole.rows, whole.inputs)
        assert found.outputs["prediction"] == whole.outputs["prediction"]
        assert found.outputs.keys() == whole.outputs.keys() >= {f"embedding[{number}]" for number in range(4)}
        for name, held in whole.outputs.items():
            assert found.outputs[name].rows == held.rows and found.outputs[name].missing == 0
        assert part.tally.requests == len(part.answers) or part.answers == ()
        assert len(part.payloads) == 3 and '"plan"' in part.payloads[0].content
    champion = window.parts[Stream("champion", "3")].tally.observation
    assert champion is not None and champion.inputs["income"].missing > 0
    answered = {answer.request: answer for _, answer in store.folder.answers(stored)}
    predicted = bundle.predict(tables[0])
    assert [answered[f"0-{number}"].prediction for number in range(64)] == predicted["prediction"].tolist()
    assert stored.decision.judged_rows == 288
    for replica in replicas:
        replica.close()


def test_a_monitor_that_is_away_stops_no_replica(
    bundle: Bundle, customers: Customers, caplog: pytest.LogCaptureFixture
) -> None:
    tried, back = threading.Semaphore(0), threading.Event()
    came: list[Delivery] = []

    def send(delivery: Delivery) -> Receipt:
        tried.release()
        if not back.is_set():
            raise ConnectionError("the actor died")
        came.append(delivery)
        return Receipt(collector="c2")

    recording = ReplicaRecording(bundle, replica="a", version="3", config=CONFIG, send=send, every_s=0.01)
    recording.record(served(bundle, customers(0, 8), at=3.0, name="x"))
    for _ in range(3):
        assert tried.acquire(timeout=30)
    back.set()
    recording.close()
    assert len([line for line in caplog.messages if "counting goes on" in line]) == 1
    assert sum(report.tally.rows for report in came[-1].reports) == 8


def test_a_bundle_without_statistics_is_counted_by_requests(bare_bundle: Path, customers: Customers) -> None:
    bare = Bundle.load(bare_bundle)
    recording = ReplicaRecording(
        bare, replica="a", version="1", config=CONFIG, send=lambda delivery: Receipt(collector=""), every_s=3600.0
    )
    recording.record(served(bare, customers(0, 8), at=3.0, name="x"))
    tallies = [report.tally for report in recording.panes.delivery().reports]
    assert [tally.requests for tally in tallies] == [6, 2]
    assert all(tally.observation is not None and tally.observation.inputs == {} for tally in tallies)
    recording.close()
