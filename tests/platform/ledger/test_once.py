"""Processes that race to begin a run which is begun once."""

from __future__ import annotations

import subprocess
import sys

from forgeline.ledger.ledger import Ledger

RACER = """
import sys, uuid
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.once import AlreadyBegun

ledger, won = Ledger(sys.argv[1]), 0
for number in range(20):
    try:
        labels = {"forgeline.once": f"retrain/live/{number}"}
        ledger.create_run(id=uuid.uuid4().hex, name="t", kind="train", spec="", labels=labels)
        won += 1
    except AlreadyBegun:
        pass
print(won)
"""


def test_of_processes_that_race_one_begins_each_run(ledger: Ledger, url: str) -> None:
    racers = [subprocess.Popen([sys.executable, "-c", RACER, url], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    won = [int(racer.communicate()[0]) for racer in racers]
    labels = [run.labels["forgeline.once"] for run in ledger.list_runs()]
    assert sum(won) == len(labels) == len(set(labels)) == 20
