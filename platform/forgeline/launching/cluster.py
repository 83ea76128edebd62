"""A run on a remote Ray cluster, through its Jobs API: the same driver as a job, its events out of the job's log.

FORGELINE_HOME and the stores must be reachable from the cluster, a shared file system or servers; the settings of
this process travel with the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError, UsageError
from forgeline.launching.events import MARKER, NOT_FINISHED, Event, is_last, parse_lines
from forgeline.launching.request import VARIABLE, Request

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord
    from forgeline.settings import Settings

ENTRYPOINT = "exec python -m forgeline.launching.driver --request env"
_PASSED_ON = ("FORGELINE_", "MLFLOW_TRACKING_")
_RETRIES = 5
_RETRY_S = 2.0
_ANSWER_S = 10.0


class ClusterLaunch:
    """A run submitted to a cluster.

    Args:
        address: `http://host:8265`, `ray://host:10001` or `auto`.
        spec: the resolved specification as YAML.
        settings: of this process.
        resume: id of the run to continue.
        threads: threads that numeric libraries use in one worker.

    Raises:
        UsageError: there is no cluster at the address.
    """

    def __init__(self, address: str, *, spec: str, settings: Settings, resume: str | None, threads: int) -> None:
        self._client = _connect(address)
        self._settings = settings
        self._run_id: str | None = None
        request = Request(spec=spec, token=uuid.uuid4().hex, resume=resume, cluster=address)
        variables = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
        variables |= {
            VARIABLE: request.to_json(),
            "OMP_NUM_THREADS": str(threads),
            "RAY_TRAIN_V2_ENABLED": "1",
            # Ray kills a stopped job after three seconds otherwise; the driver keeps its own, shorter, time.
            "RAY_JOB_STOP_WAIT_TIME_S": str(int(settings.cancel_grace_s) + 15),
        }
        self._job_id: str = self._client.submit_job(
            entrypoint=ENTRYPOINT, submission_id=request.submission_id, runtime_env={"env_vars": variables}
        )

    def events(self) -> Iterator[Event]:
        """The run's events until the last one."""
        seen = unanswered = 0
        while unanswered < _RETRIES:
            # Asked before reading: what a job wrote before it ended is still read.
            ended, before, whole = self._ended(), seen, True
            try:
                for number, event in enumerate(self._tail()):
                    # After a broken connection the log is read again, what was seen passed over.
                    if number < seen:
                        continue
                    seen += 1
                    if event["event"] == "run":
                        self._run_id = event["run_id"]
                    yield event
                    if is_last(event):
                        return
            except _Broken:
                whole = False
            if ended and (whole or seen == before):
                yield self._death()
                return
            unanswered = unanswered + 1 if ended is None and seen == before else 0
            threading.Event().wait(_RETRY_S * max(1, unanswered))
        yield self._lost()

    def interrupt(self) -> None:
        """Ask the job for a graceful stop."""
        threading.Thread(target=self._client.stop_job, args=(self._job_id,), daemon=True).start()

    def finish(self) -> None:
        """The cluster looks after its own processes."""

    def _ended(self) -> bool | None:
        """Whether the job ended; None when the cluster does not answer."""
        try:
            return bool(self._client.get_job_status(self._job_id).is_terminal())
        except Exception:
            return None

    def _death(self) -> Event:
        """What is known of a job that ended without a last event."""
        if self._run_id is not None:
            with contextlib.suppress(ForgelineError):
                return self._closed(self._run_id)
        message = f"the Ray job {self._job_id} ended without telling how the run ended{self._last_words()}"
        return {"event": "error", "message": message, "exit_code": 1}

    def _closed(self, run_id: str) -> Event:
        """The final state of a run, which the ledger is told if it does not know it."""
        from forgeline.ledger.ledger import Ledger

        ledger = Ledger(self._settings.resolved_ledger_url)
        record = ledger.get(run_id)
        if record.submission_id == self._job_id:
            ledger.close_dead(record)
            record = ledger.get(run_id)
        return {"event": "state", "state": record.state, "reason": record.reason, "message": record.message}

    def _last_words(self) -> str:
        try:
            lines = self._client.get_job_logs(self._job_id).splitlines()
        except Exception:
            return ""
        tail = [line for line in lines if MARKER not in line][-3:]
        return f"; it said: {' / '.join(tail)}" if tail else ""

    def _lost(self) -> Event:
        """The cluster does not answer any more, which says nothing about the run."""
        hint = f"; `forgeline runs wait {self._run_id}` goes on waiting for it" if self._run_id else ""
        message = f"the connection to the cluster was lost; the Ray job {self._job_id} may still go on{hint}"
        return {"event": "error", "message": message, "exit_code": NOT_FINISHED}

    def _tail(self) -> Iterator[Event]:
        """Events from the job's log; asyncio stays in a thread so that Ctrl-C is answered at once."""
        chunks: queue.Queue[str | Exception | None] = queue.Queue()

        async def read() -> None:
            async for chunk in self._client.tail_job_logs(self._job_id):
                chunks.put(chunk)

        def run() -> None:
            try:
                asyncio.run(read())
                chunks.put(None)
            except Exception as error:
                chunks.put(error)

        threading.Thread(target=run, daemon=True).start()
        rest = ""
        while (chunk := chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise _Broken from chunk
            *lines, rest = (rest + chunk).split("\n")
            yield from parse_lines(line.removeprefix(MARKER) for line in lines if line.startswith(MARKER))


class _Broken(Exception):
    """The connection ended before the log did."""


def close_if_job_ended(ledger: Ledger, record: RunRecord) -> None:
    """Close a run of a cluster when its Ray job ended without a word, which only the cluster knows.

    A cluster that does not answer soon, or does not know the job, leaves the run as it is.
    """
    if record.is_final or record.cluster is None or record.submission_id is None:
        return
    address, submission_id = record.cluster, record.submission_id
    ended = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):
            if _connect(address).get_job_status(submission_id).is_terminal():
                ended.set()
        answered.set()

    answered = threading.Event()
    threading.Thread(target=ask, daemon=True).start()
    if answered.wait(_ANSWER_S) and ended.is_set():
        ledger.close_dead(record)


def _has_token() -> bool:
    named = os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    return bool(named) or Path("~/.ray/auth_token").expanduser().exists()


def _connect(address: str) -> JobSubmissionClient:
    import logging

    logging.getLogger("ray").setLevel(logging.ERROR)
    if _has_token():
        # As Ray's own command line does: who has a token means to use it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except Exception as error:
        first: Any = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"--cluster: no Ray cluster answers at {address!r} ({first}); "
            "give its Jobs address such as http://host:8265, ray://host:10001, or auto"
        ) from error
