"""Reports for people on windows in which something was found: made by a process of its own, behind everything else.

No window waits for a report. One that cannot be made is told, and not tried again; one that was cut, since its
controller was killed, is. While a report is made it has a log, which its process holds the lock of.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from forgeline_deploy.monitor.decision import QUIET_WINDOWS

if TYPE_CHECKING:
    from forgeline_deploy.monitor import StoredWindow
    from forgeline_deploy.monitor.spec import Reported

FOLDER = "reports"
"""In the run's folder."""
MOST_WAITING = 5
"""Windows that wait for their reports; of more, the newest."""
LONGEST_S = 300.0
"""A report takes seconds; what takes so long hangs."""
Command = Callable[[int, Path], Sequence[str]]


def report_command(run_id: str) -> Command:
    """The command that writes a window's report and attaches it to a run."""

    def command(number: int, output: Path) -> list[str]:
        return [sys.executable, "-m", "forgeline.cli.app", *report_arguments(run_id, number, output)]

    return command


def report_arguments(run_id: str, number: int, output: Path) -> list[str]:
    """What the command line is given."""
    return ["monitor", "report", run_id, "--window", str(number), "--output", str(output)]


def with_news(windows: Sequence[StoredWindow]) -> list[int]:
    """Numbers of the windows with a finding that none of the judged windows just before had."""
    found: list[int] = []
    recent: deque[set[tuple[str, str, str]]] = deque(maxlen=QUIET_WINDOWS)
    for window in windows:
        subjects = {(one.stream, str(one.about), one.subject) for one in window.decision.findings}
        if subjects - set[tuple[str, str, str]]().union(*recent):
            found.append(window.number)
        if window.decision.judged_rows or subjects:
            recent.append(subjects)
    return found


class Reports:
    """Has reports made of stored windows, one at a time.

    Args:
        of: which windows.
        folder: of the run.
        command: makes one, given a window's number and the file to write.
        tell: takes what a person should know, a line each.
    """

    def __init__(self, of: Reported, *, folder: Path, command: Command, tell: Callable[[str], None]) -> None:
        self._of, self._folder, self._command, self._tell = of, folder / FOLDER, command, tell
        self._seen = 0
        self._waiting: deque[int] = deque()
        self._running: tuple[int, subprocess.Popen[bytes], float] | None = None

    def tick(self, windows: Sequence[StoredWindow], now: float) -> None:
        """Begin what is due, and look at what has ended; never waits.

        Args:
            windows: all that are safe.
            now: unix seconds.
        """
        if self._of == "none":
            return
        if len(windows) > self._seen:
            self._wait_for(windows)
        self._look(now)
        if self._running is None and self._waiting:
            self._begin(self._waiting.popleft(), now)

    @property
    def busy(self) -> bool:
        """Whether a report is made, or waits."""
        return self._running is not None or bool(self._waiting)

    def close(self) -> None:
        """Make no more of them."""
        if self._running is not None:
            self._running[1].kill()
            self._running[1].wait()
            self._running = None

    def _wait_for(self, windows: Sequence[StoredWindow]) -> None:
        chosen = with_news(windows) if self._of == "alarms" else [one.number for one in windows if one.rows]
        new = [number for number in chosen if number >= self._seen and not self._settled(number)]
        self._waiting.extend(new)
        skipped = [self._waiting.popleft() for _ in range(len(self._waiting) - MOST_WAITING)]
        # What an earlier life of this process left out was told then.
        if skipped and self._seen:
            self._tell(f"{len(skipped)} reports are left out, the last of window {skipped[-1]}: newer ones wait")
        self._seen = len(windows)

    def _begin(self, number: int, now: float) -> None:
        output = self._file(number)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with self._log(number).open("ab") as log:
                if not _locked(log):  # by the process of an earlier controller, which goes on
                    self._waiting.append(number)
                    return
                log.truncate(0)
                process = subprocess.Popen(
                    ["nice", *self._command(number, output)],
                    env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._tell(f"the report on window {number} cannot be made: {error}")
            return
        self._running = number, process, now

    def _look(self, now: float) -> None:
        if self._running is None:
            return
        number, process, began = self._running
        code = process.poll()
        if code is None and now < began + LONGEST_S:
            return
        if code is None:
            process.kill()
            process.wait()
        self._running = None
        if code == 0:
            self._log(number).unlink(missing_ok=True)
            return
        said = "it took too long" if code is None else self._last_line(number)
        failed = self._log(number).replace(self._failed(number))
        self._tell(f"the report on window {number} could not be made: {said}; see {failed}")

    def _last_line(self, number: int) -> str:
        try:
            lines = self._log(number).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:500] if lines else "it said nothing"

    def _settled(self, number: int) -> bool:
        """Whether it was made and attached, or failed."""
        return self._failed(number).exists() or (self._file(number).exists() and not self._log(number).exists())

    def _file(self, number: int) -> Path:
        return self._folder / f"window-{number:06d}.html"

    def _log(self, number: int) -> Path:
        return self._folder / f"window-{number:06d}.log"

    def _failed(self, number: int) -> Path:
        return self._folder / f"window-{number:06d}.failed.log"


def _locked(file: IO[bytes]) -> bool:
    """Take the lock of an open file, which those who inherit it hold on to; False where others hold it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
