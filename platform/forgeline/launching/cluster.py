"""A run on a remote Ray cluster, through its Jobs API: the same driver as a job, its events out of the job's log.

FORGELINE_HOME and the stores must be reachable from the cluster, a shared file system or servers; the settings of
this process travel with the job.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import UsageError
from forgeline.launching.events import MARKER, Event, is_last, parse_lines
from forgeline.launching.request import VARIABLE, Request

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from forgeline.settings import Settings

ENTRYPOINT = "exec python -m forgeline.launching.driver --request env"
_PASSED_ON = ("FORGELINE_", "MLFLOW_TRACKING_")
_RETRIES = 5
_RETRY_S = 2.0


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
        token = uuid.uuid4().hex
        request = Request(spec=spec, token=token, resume=resume, cluster=address)
        variables = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
        variables |= {
            VARIABLE: request.to_json(),
            "OMP_NUM_THREADS": str(threads),
            "RAY_TRAIN_V2_ENABLED": "1",
            # Ray kills a stopped job after three seconds otherwise; the driver keeps its own, shorter, time.
            "RAY_JOB_STOP_WAIT_TIME_S": str(int(settings.cancel_grace_s) + 15),
        }
        self._job_id: str = self._client.submit_job(
            entrypoint=ENTRYPOINT, submission_id=f"forgeline-{token}", runtime_env={"env_vars": variables}
        )

    def events(self) -> Iterator[Event]:
        """The run's events until the last one."""
        seen = 0
        for attempt in range(_RETRIES):
            for number, event in enumerate(self._tail()):
                if number < seen:
                    continue
                seen += 1
                yield event
                if is_last(event):
                    return
            # The connection ended before the run did: the log is read again, what was seen passed over.
            if self._ended():
                break
            threading.Event().wait(_RETRY_S * attempt)
        yield self._death()

    def interrupt(self) -> None:
        """Ask the job for a graceful stop."""
        threading.Thread(target=self._client.stop_job, args=(self._job_id,), daemon=True).start()

    def finish(self) -> None:
        """The cluster looks after its own processes."""

    def _ended(self) -> bool:
        return bool(self._client.get_job_status(self._job_id).is_terminal())

    def _death(self) -> Event:
        info = self._client.get_job_info(self._job_id)
        tail = [line for line in self._client.get_job_logs(self._job_id).splitlines() if MARKER not in line][-3:]
        said = f"; it said: {' / '.join(tail)}" if tail else ""
        message = f"the Ray job {self._job_id} ended ({info.status}) without telling how the run ended{said}"
        return {"event": "error", "message": message, "exit_code": 1}

    def _tail(self) -> Iterator[Event]:
        """Events from the job's log; asyncio stays in a thread so that Ctrl-C is answered at once."""
        chunks: queue.Queue[str | None] = queue.Queue()

        async def read() -> None:
            try:
                async for chunk in self._client.tail_job_logs(self._job_id):
                    chunks.put(chunk)
            finally:
                chunks.put(None)

        def run() -> None:
            try:
                asyncio.run(read())
            except Exception:
                # A broken connection; whoever reads the events tries again.
                return

        threading.Thread(target=run, daemon=True).start()
        rest = ""
        while (chunk := chunks.get()) is not None:
            *lines, rest = (rest + chunk).split("\n")
            yield from parse_lines(line.removeprefix(MARKER) for line in lines if line.startswith(MARKER))


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
