"""Every fault of docs/faults.md, injected into real processes: what `tests/jobs/train/faults` asserts, as rows.

A row is one test, which tells the outcome of its run: state, reason, exit code, attempts, steps that were done again,
points that were lost. It is met when the test passes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.results_file import ROOT, read

TESTS = "tests/jobs/train/faults"
PAGE = ROOT / "docs" / "faults.md"
SKIPPED = "was not injected"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: what happens.
        test: the test that lets it happen, below `TESTS`.
        given: retry budget, or what a person does afterwards.
    """

    name: str
    test: str
    given: str = ""


FAULTS = (
    Fault("SIGKILL of a worker", "test_processes.py::test_a_worker_is_killed", "`retry: {node_lost: 1}`"),
    Fault("SIGKILL of a raylet", "test_nodes.py::test_a_raylet_is_killed", "`retry: {node_lost: 1}`, a node to spare"),
    Fault("SIGKILL of the driver", "test_processes.py::test_the_driver_is_killed", "`--resume` by hand"),
    Fault("SIGSTOP of a rank", "test_processes.py::test_a_rank_stands_still", "`retry: {hang: 1}`, `hang_after: 5s`"),
    Fault("SIGTERM to a worker", "test_processes.py::test_a_worker_is_told_to_leave", "`retry: {preempted: 1}`"),
    Fault(
        "an exception on one rank, each time",
        "test_processes.py::test_a_rank_fails[an-exception-on-one-rank]",
        "`retry: {user_error: 1}`",
    ),
    Fault(
        "out of memory on one rank, each time",
        "test_processes.py::test_a_rank_fails[memory-runs-out-on-one-rank]",
        "`retry: {out_of_memory: 1}`",
    ),
    Fault("two resume the same run", "test_processes.py::test_two_take_up_the_same_run", "the second is refused"),
    Fault(
        "the tracker is down from the start",
        "test_tracking.py::test_the_tracker_is_down_from_the_start",
        "no run is made (exit code 1); started again when it is up",
    ),
    Fault("the tracker is down in the middle", "test_tracking.py::test_the_tracker_goes_down_in_the_middle"),
    Fault(
        "the tracker is down until the end", "test_tracking.py::test_the_tracker_is_down_until_the_end", "`runs sync`"
    ),
    Fault("the tracker is away for ten minutes", "test_tracking.py::test_the_tracker_is_away_for_ten_minutes"),
    Fault("the tracker answers 500", "test_tracking.py::test_the_tracker_misbehaves[refuses]"),
    Fault("the tracker answers slowly", "test_tracking.py::test_the_tracker_misbehaves[is slow]"),
    Fault(
        "the disk is full at a checkpoint", "test_storage.py::test_the_disk_is_full_at_a_checkpoint", "room, `--resume`"
    ),
    Fault(
        "the newest checkpoint is truncated, and a worker killed",
        "test_storage.py::test_the_newest_checkpoint_is_truncated",
        "`retry: {node_lost: 1}`",
    ),
    Fault(
        "the checkpoint is of a newer version",
        "test_storage.py::test_the_checkpoint_is_of_a_newer_version",
        "refused; `--resume` once it is readable",
    ),
    Fault(
        "the ledger is locked for 10 s, and a worker killed",
        "test_storage.py::test_the_ledger_is_away_for_a_while[locked]",
        "`retry: {node_lost: 1}`",
    ),
    Fault(
        "the ledger is gone for 10 s, and a worker killed",
        "test_storage.py::test_the_ledger_is_away_for_a_while[gone]",
        "`retry: {node_lost: 1}`",
    ),
    Fault("the clock jumps 2 h forwards", "test_clock.py::test_the_clock_jumps[forwards]"),
    Fault("the clock jumps 2 h backwards", "test_clock.py::test_the_clock_jumps[backwards]"),
)

HEAD = """# Faults

What happens to a run when something breaks, as `make acceptance ONLY=faults` measured it: a run of 120 steps on two
workers with a checkpoint every 20, real processes and a real fault in the middle. *Redone* are steps that were done
twice, *lost* points that the run's own series lacks, *doubled* those that it has twice.
How it comes about: [failures.md](failures.md), [checkpoints.md](checkpoints.md), [tracking.md](tracking.md).

| fault | given | ends as | exit code | attempts | redone | lost | doubled | as promised |
|---|---|---|---|---|---|---|---|---|
"""


def rows(say: Callable[[str], None]) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """A row for each fault, by its name."""
    return {fault.name: partial(injected, say, fault) for fault in FAULTS}


def injected(say: Callable[[str], None], fault: Fault) -> dict[str, Any]:
    """Run the fault's test."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "acceptance",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit1",
        ]
        done = subprocess.run(
            [*command, f"{TESTS}/{fault.test}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        case = ElementTree.parse(report).getroot().find(".//testcase")
    if done.returncode:
        say(done.stdout[-3000:])
    if case is None:
        raise RuntimeError(f"{fault.test} is no test: {done.stdout}{done.stderr}")
    told = {found.attrib["name"]: found.attrib["value"] for found in case.iter("property")}
    outcome = json.loads(told["outcome"]) if "outcome" in told else {}
    skipped = case.find("skipped")
    return {
        "fault": fault.name,
        **outcome,
        **({"found": f"{SKIPPED}: {skipped.attrib.get('message', '')}"} if skipped is not None else {}),
        "seconds": [round(time.perf_counter() - started, 1)],
        "met": done.returncode == 0 and skipped is None,
    }


def text() -> str:
    """The page."""
    measured = read("faults").get("rows", {})
    lines = [_line(fault, measured[fault.name]) for fault in FAULTS if fault.name in measured]
    return HEAD + "\n".join(lines) + "\n"


def write() -> Path:
    """Write the page."""
    PAGE.write_text(text(), encoding="utf-8")
    return PAGE


def _line(fault: Fault, row: Mapping[str, Any]) -> str:
    met = "yes" if row["met"] else "**no**"
    if "state" not in row:
        return f"| {fault.name} | {fault.given} | {row.get('found', 'not told')} | | | | | | {met} |"
    ends = row["state"] + (f": {row['reason']}" if row["reason"] else "")
    attempts = " → ".join(row["attempts"])
    cells = [fault.name, fault.given, ends, row["exit_code"], attempts, row["redone"], row["lost"], row["doubled"], met]
    return f"| {' | '.join(map(str, cells))} |"
