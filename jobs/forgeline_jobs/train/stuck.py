"""Looking into a process that does not get on, from outside: its state, its Python stack, its end.

py-spy reads the stack out of the process's memory, also of one that is stopped. Where the kernel forbids that (ptrace
restricted to a process's own parents), the process is asked to write it itself, by faulthandler.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeline.ledger import driver_process

_ASKED_BY = signal.SIGUSR2
_PY_SPY_S = 10.0
_ANSWER_S = 2.0
_TRAINING_THREAD = "TrainingThread"
_FRAMES = 4
_stacks: list[Any] = []


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What was seen of a process.

    Attributes:
        state: of its main thread, as the kernel has it: `T` stopped, `D` waiting for a device, `gone`, …
        stack: of its training thread, innermost frame first.
        threads: stacks of all its threads, for the file.
        trouble: why there is no stack.
    """

    state: str
    stack: tuple[str, ...]
    threads: str
    trouble: str = ""

    @property
    def in_words(self) -> str:
        """The state and the innermost frames in a few words."""
        told = ["its process is stopped (SIGSTOP)"] if self.state in ("T", "t") else []
        told += ["its process is gone"] if self.state == "gone" else []
        if self.stack:
            frames = [frame for frame in self.stack if ".wrapper " not in frame]  # decorators say nothing
            told.append(f"Python is in {' < '.join(frames[:_FRAMES])}")
        elif self.trouble:
            told.append(f"its Python stack could not be read ({self.trouble})")
        return "; ".join(told)


def stack_file(folder: Path, rank: int) -> Path:
    """Where a worker writes its stacks when it is asked to."""
    return folder / f"stacks-{rank}.txt"


def be_askable(folder: Path, rank: int) -> None:
    """Write the stacks of this process when somebody asks for them, and when it crashes (into its log)."""
    file = stack_file(folder, rank).open("w", encoding="utf-8")
    faulthandler.register(_ASKED_BY, file=file, all_threads=True, chain=False)
    for before in _stacks:  # of an earlier run in this process
        before.close()
    _stacks[:] = [file]  # open as long as it may be asked
    faulthandler.enable(file=sys.stderr, all_threads=True)


def state_of(pid: int, started_s: float | None) -> str:
    """The kernel's letter for the state of a process of this machine; `gone` where there is none."""
    if not driver_process.is_alive(pid, started_s):
        return "gone"
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def look(pid: int, started_s: float | None, file: Path) -> Sight:
    """What a process of this machine is doing.

    Args:
        started_s: when it began, which tells it from a later one of the same id.
        file: where it writes its stacks when it is asked to.
    """
    state = state_of(pid, started_s)
    if state == "gone":
        return Sight(state=state, stack=(), threads="")
    try:
        threads = _by_py_spy(pid)
        return Sight(state=state, stack=_training(threads), threads=_as_text(threads))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        text = _by_asking(pid, file)
        trouble = "" if text else f"py-spy: {said.strip().splitlines()[0] if said.strip() else type(error).__name__}"
        return Sight(state=state, stack=_training_of_text(text), threads=text, trouble=trouble)


def end(pid: int, started_s: float | None) -> None:
    """Kill a process of this machine, stopped or not."""
    if driver_process.is_alive(pid, started_s):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _by_py_spy(pid: int) -> list[dict[str, Any]]:
    # Beside this interpreter, where pip puts it, which need not be on the path.
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy") or "py-spy"
    # Not blocking: a stopped process stays stopped, and one that works is not held up.
    command = [program, "dump", "--json", "--nonblocking", "--pid", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PY_SPY_S, check=True)
    threads: list[dict[str, Any]] = json.loads(done.stdout)
    return threads


def _training(threads: list[dict[str, Any]]) -> tuple[str, ...]:
    named = [one for one in threads if str(one.get("thread_name") or "").startswith(_TRAINING_THREAD)]
    chosen = (named or threads)[:1]
    return tuple(_frame(frame) for one in chosen for frame in one["frames"])


def _frame(frame: dict[str, Any]) -> str:
    return f"{frame['name']} ({Path(frame['filename']).name}:{frame['line']})"


def _as_text(threads: list[dict[str, Any]]) -> str:
    lines = []
    for one in threads:
        lines.append(f"Thread {one.get('thread_name') or one.get('thread_id')}")
        lines += [f"    {frame['name']} ({frame['filename']}:{frame['line']})" for frame in one["frames"]]
    return "\n".join(lines)


def _by_asking(pid: int, file: Path) -> str:
    """What the process writes of itself. A stopped one has to go on for that; whoever asks ends it next."""
    with suppress(OSError):
        before = file.stat().st_size
        os.kill(pid, _ASKED_BY)
        os.kill(pid, signal.SIGCONT)
        until = time.monotonic() + _ANSWER_S
        while time.monotonic() < until:
            time.sleep(0.05)
            if file.stat().st_size > before:
                time.sleep(0.1)  # the rest of it
                return file.read_text(encoding="utf-8", errors="replace")[before:]
    return ""


def _training_of_text(text: str) -> tuple[str, ...]:
    """The frames of the thread that trains: the one in which this package's worker stands, else the first."""
    threads = [part.splitlines()[1:] for part in text.split("\n\n") if "File " in part]
    chosen = next((lines for lines in threads if any("train_worker" in line for line in lines)), [])
    return tuple(line.strip() for line in chosen or (threads[0] if threads else []))
