"""Result files under benchmarks/results: one JSON each, with the machine they were measured on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import forgeline

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
SPECS = ROOT / "jobs" / "specs"
SOURCES = ("architectures", "jobs", "platform")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    return {
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "forgeline": forgeline.__version__,
    }


def read(name: str) -> dict[str, Any]:
    """A result file; empty when there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def stamped(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the digest of the spec that it is about, and the commit that it was measured at."""
    head = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=SPECS, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    spec = row.get("spec")
    return {**row, "commit": head or None, "spec_digest": spec and _digest(spec)}


def is_current(row: Mapping[str, Any] | None) -> bool:
    """Whether there is a row and its spec is still the one that was measured."""
    return row is not None and (row.get("spec") is None or row.get("spec_digest") == _digest(row["spec"]))


def source_digest() -> str:
    """Digest of the code that trains and measures, as it is on disk now: what a run started now consists of."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _digest(spec: str) -> str:
    return hashlib.sha256((SPECS / spec).read_bytes()).hexdigest()[:16]


def remove(name: str) -> None:
    """Remove a result file, if it is there."""
    (RESULTS / f"{name}.json").unlink(missing_ok=True)


def write(name: str, rows: dict[str, Any]) -> Path:
    """Write a result file whole, or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    content = {"measured": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "rows": rows}
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
