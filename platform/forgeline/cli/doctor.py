"""`forgeline doctor`: is this installation able to run jobs, and with which settings?

Heavy libraries are asked for their versions only, and a tracking store in a file is read without MLflow. `--imports`
imports the libraries as well, in a process of its own: some faults of an installation show only then.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import forgeline
from forgeline.cli.render import Format, FormatOption, show_json, show_rows
from forgeline.errors import ForgelineError
from forgeline.ledger.sql_reading import sqlite_file
from forgeline.masking import redact

if TYPE_CHECKING:
    from forgeline.settings import Settings

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 5 * 2**30
MIN_TORCH = (2, 11)
_IMPORT_S = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        status: `ok`, `warning` (works, with less) or `failed`.
        detail: what was found, and for a failure what to do.
    """

    check: str
    status: Literal["ok", "warning", "failed"]
    detail: str


def doctor(
    imports: Annotated[bool, typer.Option("--imports", help="Import the heavy libraries too; takes a while.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check this installation; exits with 1 when something does not work."""
    from forgeline.settings import settings

    environment = settings()
    checks = {**CHECKS, **({"imports": _imports} if imports else {})}
    findings = [_guarded(name, check, environment) for name, check in checks.items()]
    if any(finding.check == "home" and finding.status == "failed" for finding in findings):
        findings = [_after_home(finding, environment) for finding in findings]
    shown = dict(shown_settings(environment))
    if form is Format.JSON:
        show_json({"checks": [asdict(finding) for finding in findings], "settings": shown})
    else:
        show_rows([asdict(f) for f in findings], ["check", "status", "detail"], form=form, empty="")
        print()
        rows = [{"setting": name, "value": value} for name, value in shown.items()]
        show_rows(rows, ["setting", "value"], form=form, empty="")
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)


def shown_settings(environment: Settings) -> Iterator[tuple[str, str]]:
    """The settings in force, what is secret in them masked."""
    yield "FORGELINE_HOME", str(environment.home_folder)
    yield "FORGELINE_LEDGER_URL", redact(environment.resolved_ledger_url)
    yield "FORGELINE_TRACKING_URI", redact(environment.resolved_tracking_uri)
    yield "FORGELINE_EXPERIMENT", environment.experiment
    yield "FORGELINE_LOCAL_CPUS", f"{environment.available_cpus:g}"
    yield "FORGELINE_CANCEL_GRACE_S", f"{environment.cancel_grace_s:g}"
    yield "FORGELINE_GPU_PRICES", ", ".join(f"{name} {price:g}" for name, price in environment.gpu_prices.items())
    yield "FORGELINE_GPU_MEMORY", ", ".join(f"{name} {size}" for name, size in environment.gpu_memory.items())


def _guarded(name: str, check: Callable[[Settings], Finding], environment: Settings) -> Finding:
    try:
        return check(environment)
    except ForgelineError as error:
        return Finding(name, "failed", redact(str(error)))
    except Exception as error:
        return Finding(name, "failed", redact(f"{type(error).__name__}: {error}"))


def _after_home(finding: Finding, environment: Settings) -> Finding:
    """What lies in a home that cannot be used has no fault of its own to tell."""
    in_home = {"ledger": not environment.ledger_url, "tracking": not environment.tracking_uri}
    return Finding(finding.check, "failed", "not checked: it is in home") if in_home.get(finding.check) else finding


def _forgeline(environment: Settings) -> Finding:
    return Finding("forgeline", "ok", forgeline.__version__)


def _python(environment: Settings) -> Finding:
    status: Any = "ok" if sys.version_info[:2] >= MIN_PYTHON else "failed"
    return Finding("python", status, f"{sys.version.split()[0]} (at least {'.'.join(map(str, MIN_PYTHON))})")


def _packages(environment: Settings) -> Finding:
    needed = ("ray", "lightning", "mlflow", "timm", "safetensors")
    missing, found = [], []
    for name in needed:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "failed", f"not installed: {', '.join(missing)}; install forgeline again")
    return Finding("packages", "ok", ", ".join(found))


def _torch(environment: Settings) -> Finding:
    version = metadata.version("torch")
    number = tuple(int(part) for part in version.split("+")[0].split(".")[:2])
    pins = [re.match(r"torch ?\(?==([\d.]+)", need) for need in metadata.requires("torchvision") or []]
    pinned = next((pin[1] for pin in pins if pin), None)
    detail = f"{version} (at least {'.'.join(map(str, MIN_TORCH))}), torchvision {metadata.version('torchvision')}"
    if number < MIN_TORCH:
        return Finding("torch", "failed", detail)
    if pinned not in (None, version.split("+")[0]):
        return Finding("torch", "failed", f"{detail}, which was built for torch {pinned}; install the two as a pair")
    return Finding("torch", "ok", detail)


def _imports(environment: Settings) -> Finding:
    names = ("torch", "torchvision", "ray", "lightning", "mlflow")
    command = [sys.executable, "-c", f"import {', '.join(names)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_S, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Finding("imports", "failed", f"{', '.join(names)} cannot be imported: {why}")
    return Finding("imports", "ok", ", ".join(names))


def _home(environment: Settings) -> Finding:
    return Finding("home", "ok", f"{environment.ensure_home()} can be written")


def _disk(environment: Settings) -> Finding:
    folder = next(path for path in (environment.home_folder, *environment.home_folder.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    status: Any = "ok" if free >= MIN_FREE_BYTES else "warning"
    return Finding("disk", status, f"{free / 2**30:.1f} GiB free (at least {MIN_FREE_BYTES // 2**30} advised)")


def _ledger(environment: Settings) -> Finding:
    from forgeline.ledger.ledger import Ledger

    Ledger(environment.resolved_ledger_url).list_runs(limit=1)
    return Finding("ledger", "ok", "answers")


def _tracking(environment: Settings) -> Finding:
    file = sqlite_file(environment.resolved_tracking_uri)
    if file is not None:
        if not file.exists():
            return Finding("tracking", "ok", "the first run makes it")
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as store:
            store.execute("SELECT count(*) FROM experiments").fetchone()
        return Finding("tracking", "ok", "answers")
    from forgeline.tracking.tracker import Tracker

    Tracker(environment.resolved_tracking_uri, environment.artifact_root).check()
    return Finding("tracking", "ok", "answers")


def _ports(environment: Settings) -> Finding:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    return Finding("ports", "ok", "127.0.0.1 can be listened on")


def _shared_memory(environment: Settings) -> Finding:
    if not os.path.isdir("/dev/shm"):
        return Finding("shared memory", "warning", "/dev/shm is not there; Ray keeps objects in files, slowly")
    free = shutil.disk_usage("/dev/shm").free
    status: Any = "ok" if free >= 2**28 else "warning"
    return Finding("shared memory", status, f"{free / 2**20:.0f} MiB free in /dev/shm (at least 256 advised)")


def _gpu(environment: Settings) -> Finding:
    from forgeline.launching.admission import visible_gpus

    count = visible_gpus()
    return Finding("gpu", "ok", f"{count} visible" if count else "none: jobs run on CPUs")


CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "forgeline": _forgeline,
    "python": _python,
    "packages": _packages,
    "torch": _torch,
    "gpu": _gpu,
    "home": _home,
    "disk": _disk,
    "shared memory": _shared_memory,
    "ports": _ports,
    "ledger": _ledger,
    "tracking": _tracking,
}
