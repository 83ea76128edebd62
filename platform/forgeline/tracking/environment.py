"""Under what circumstances a run was made: the user's code and what is not committed of it, packages, hardware."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from forgeline.masking import redact, redact_source

if TYPE_CHECKING:
    from forgeline.tracking.tracker import Tracker

DIFF_LIMIT_BYTES = 1 << 20
_GIT_TIMEOUT_S = 10.0
# Shown as tags, so that runs can be filtered by them; the artifact has all.
_TAGGED = ("forgeline", "lightning", "mlflow", "ray", "torch")


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """The git repository that a run was started from.

    Attributes:
        commit: None before the first one.
        branch: None when the head is detached.
        remote: URL of `origin`, without credentials.
        diff: what is not committed of tracked files, up to 1 MiB, passwords and the like masked.
        untracked: number of files that git neither tracks nor ignores.
    """

    commit: str | None
    branch: str | None
    remote: str | None
    diff: str
    untracked: int

    @property
    def is_dirty(self) -> bool:
        """Whether the commit alone does not say what was run."""
        return bool(self.diff or self.untracked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """The machine that the driver runs on."""

    cpu: str
    cores: int
    logical_cpus: int
    memory_bytes: int
    gpus: tuple[Gpu, ...]


def code(folder: Path | None = None) -> Code | None:
    """The state of the git repository around `folder` (the working directory); None outside of one, or without git."""
    where = folder or Path.cwd()
    if _git(where, "rev-parse", "--is-inside-work-tree") != "true":
        return None
    commit = _git(where, "rev-parse", "--verify", "HEAD")
    remote = _git(where, "remote", "get-url", "origin")
    # A configured diff program or text conversion would be run: neither is wanted here.
    diff = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", *(("HEAD",) if commit else ()))
    untracked = _git(where, "ls-files", "--others", "--exclude-standard") or ""
    return Code(
        commit=commit,
        branch=_git(where, "symbolic-ref", "--short", "-q", "HEAD"),
        remote=redact(remote) if remote else None,
        diff=redact_source(_git(where, *diff, strip=False) or ""),
        untracked=len(untracked.splitlines()),
    )


def packages() -> dict[str, str]:
    """Installed distributions and their versions, by name."""
    found = {(package.metadata["Name"] or "").lower(): package.version for package in metadata.distributions()}
    return dict(sorted((name, version) for name, version in found.items() if name))


def hardware() -> Hardware:
    """What this machine has."""
    return Hardware(
        cpu=_cpu_model(),
        cores=psutil.cpu_count(logical=False) or 0,
        logical_cpus=psutil.cpu_count() or 0,
        memory_bytes=psutil.virtual_memory().total,
        gpus=_gpus(),
    )


def log(tracker: Tracker, run_id: str, *, folder: Path | None = None) -> None:
    """Log all of it to a run: tags to filter by, `environment/*.json`, and the diff as `environment/uncommitted.diff`.

    Raises:
        TrackingError: the store did not take it.
    """
    repository, versions, machine = code(folder), packages(), hardware()
    tags = {"forgeline.host": platform.node(), "forgeline.python": platform.python_version()}
    tags |= {f"forgeline.package.{name}": versions[name] for name in _TAGGED if name in versions}
    if machine.gpus:
        tags["forgeline.gpus"] = ", ".join(gpu.name for gpu in machine.gpus)
    if repository is not None:
        tags |= _code_tags(repository)
        if repository.diff:
            tracker.log_text(run_id, repository.diff, "environment/uncommitted.diff")
    about = {"python": sys.version, "platform": platform.platform(), **asdict(machine)}
    tracker.log_text(run_id, json.dumps(versions, indent=1), "environment/packages.json")
    tracker.log_text(run_id, json.dumps(about, indent=1), "environment/hardware.json")
    tracker.set_tags(run_id, tags)


def _code_tags(repository: Code) -> Mapping[str, str]:
    tags = {
        "mlflow.source.git.commit": repository.commit,
        "mlflow.source.git.branch": repository.branch,
        "mlflow.source.git.repoURL": repository.remote,
        "forgeline.code.dirty": str(repository.is_dirty).lower(),
    }
    return {key: value for key, value in tags.items() if value}


def _git(folder: Path, *arguments: str, strip: bool = True) -> str | None:
    """Output of a git command, up to the limit; None when it fails or answers nothing."""
    # Without optional locks it does not get in the way of the user's own git.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        with subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        ) as process:
            return _bounded(process, strip=strip)
    except OSError:
        return None


def _bounded(process: subprocess.Popen[bytes], *, strip: bool) -> str | None:
    assert process.stdout is not None
    content = process.stdout.read(DIFF_LIMIT_BYTES + 1)
    if len(content) > DIFF_LIMIT_BYTES:
        process.kill()
        return content[:DIFF_LIMIT_BYTES].decode("utf-8", "replace") + "\n… (cut at 1 MiB)\n"
    try:
        failed = process.wait(_GIT_TIMEOUT_S) != 0
    except subprocess.TimeoutExpired:
        process.kill()
        return None
    text = content.decode("utf-8", "replace")
    return None if failed else ((text.strip() if strip else text) or None)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def _gpus() -> tuple[Gpu, ...]:
    import pynvml  # type: ignore[import-untyped]  # NVIDIA ships no types

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return tuple(
            Gpu(name=str(pynvml.nvmlDeviceGetName(one)), memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(one).total))
            for one in handles
        )
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
