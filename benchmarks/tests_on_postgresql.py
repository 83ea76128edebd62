"""The suite's tests of what the ledger promises, with a PostgreSQL server in the place of a file of SQLite.

    make acceptance ONLY=postgresql      # takes PostgreSQL's programs on the path, or `pip install --group bench`

A row is one part of the ledger's users; it is met when all of its tests pass. Tests of SQLite's own files are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.postgresql import running
from benchmarks.results_file import ROOT

Say = Callable[[str], None]

SERVER = "FORGELINE_TEST_POSTGRESQL"
"""What `tests/databases.py` reads."""

TESTS: Mapping[str, Sequence[str]] = {
    "runs, journals, leases, migrations": ["tests/platform/ledger"],
    "promotions and approvals": [
        "tests/platform/registry/test_approving.py",
        "tests/platform/registry/test_promotion.py",
    ],
    "alerts": ["tests/deploy/alerts"],
    "retrainings": ["tests/deploy/retraining/test_command.py", "tests/deploy/retraining/test_retraining.py"],
}


def rows(say: Say) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """The group `postgresql`."""
    return {name: partial(passed, say, tests) for name, tests in TESTS.items()}


def passed(say: Say, tests: Sequence[str]) -> dict[str, Any]:
    """Run tests, and count how they came out."""
    began = time.monotonic()
    # Short: the path of PostgreSQL's socket has little room.
    with tempfile.TemporaryDirectory(prefix="fl") as folder, running(Path(folder)) as server:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not acceptance", f"--junitxml={report}", *tests]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {SERVER: server.url()}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            say(done.stdout[-5000:])
        suite = ElementTree.parse(report).getroot().find(".//testsuite")
    if suite is None:
        raise RuntimeError(f"{', '.join(tests)} are no tests: {done.stdout}{done.stderr}")
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    return {
        **counts,
        "seconds": round(time.monotonic() - began, 1),
        "met": done.returncode == 0 and counts["tests"] > counts["skipped"],
    }
