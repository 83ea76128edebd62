"""`forgeline doctor`: is this installation able to run jobs, and with which settings?

Heavy libraries are asked for their versions only; torch is imported in a process of its own, since an installation
whose compiled parts do not fit shows it only then.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

import typer

from forgeline.cli.render import Format, FormatOption, show_json, show_rows
from forgeline.errors import ForgelineError
from forgeline.masking import redact
from forgeline.settings import Settings, settings

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 5 * 2**30
MIN_TORCH = (2, 11)


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


def doctor(form: FormatOption = Format.TABLE) -> None:
    """Check this installation; exits with 1 when something does not work."""
    environment = settings()
    findings = [_guarded(name, check, environment) for name, check in CHECKS.items()]
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


def _guarded(name: str, check: Callable[[Settings], Finding], environment: Settings) -> Finding:
    try:
        return check(environment)
    except ForgelineError as error:
        return Finding(name, "failed", redact(str(error)))
    except Exception as error:
        return Finding(name, "failed", redact(f"{type(error).__name__}: {error}"))


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
    code = "import torch, torchvision; print(torch.__version__, torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Finding("torch", "failed", f"torch and torchvision cannot be imported: {why}")
    version, cuda = done.stdout.split()
    old = tuple(int(part) for part in version.split("+")[0].split(".")[:2]) < MIN_TORCH
    gpu = "with CUDA" if cuda == "True" else "CPU only"
    return Finding("torch", "failed" if old else "ok", f"{version}, {gpu} (at least {'.'.join(map(str, MIN_TORCH))})")


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
