"""The tracker: everything that Forgeline writes about a run to MLflow goes through here.

- Only `MlflowClient` is used, never the fluent API, which has a current run and prints.
- MLflow is imported, and the store opened, at the first use.
- Processes that meet a fresh SQLite store take turns creating it; MLflow by itself lets them collide.
"""

from __future__ import annotations

import fcntl
import getpass
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from forgeline.errors import NotFound, TrackingError
from forgeline.ledger.sql_reading import sqlite_file
from forgeline.ledger.states import State
from forgeline.masking import redact
from forgeline.tracking.names import PARAM_LIMIT, STATE_TAG, TAG_LIMIT, tracked_key, tracked_value

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

# What MLflow takes in one call.
MAX_POINTS = 1000
MAX_PARAMS = 100

_REASON_TAG = "forgeline.reason"

_STATUS = {
    State.SUCCEEDED: "FINISHED",
    State.FAILED: "FAILED",
    State.TIMED_OUT: "KILLED",
    State.CANCELLED: "KILLED",
}
# Read by MLflow when it is imported. The retries are ours: its own go on for four minutes.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value of one metric.

    Attributes:
        step: optimizer steps taken.
        time_ms: milliseconds since 1970.
    """

    key: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRun:
    """What MLflow has of a run; of each metric the last value.

    Attributes:
        status: MLflow's own word: RUNNING, FINISHED, FAILED, KILLED.
        artifact_uri: where its files are.
    """

    id: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifact_uri: str


def silence_mlflow() -> None:
    """Set, where the user has not, what keeps MLflow quiet; to be called before it is imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # It logs database errors with their traceback and raises them as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


class Tracker:
    """An MLflow tracking store or server. May be used from several threads.

    Args:
        uri: MLflow tracking URI.
        artifact_root: URI of the folder for files of new experiments; None where the server decides.

    Raises:
        TrackingError: every method raises it when the store cannot be reached or refuses.
    """

    def __init__(self, uri: str, artifact_root: str | None = None) -> None:
        self.uri = uri
        self._artifact_root = artifact_root
        self._opening = threading.Lock()
        self._opened: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client on this store, for tracking and registry alike."""
        with self._opening:
            if self._opened is None:
                silence_mlflow()
                from mlflow import MlflowClient

                with self.guarded(), _turn(self.uri):
                    self._opened = MlflowClient(self.uri, self.uri)
                    self._opened.search_experiments(max_results=1)
            return self._opened

    def check(self) -> None:
        """Ask the store something, to know that it answers."""
        with self.guarded():
            self.client.search_experiments(max_results=1)

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str] | None = None) -> str:
        """Create a run and return its id, which is the run's identity everywhere.

        Args:
            experiment: created when there is none of this name.
        """
        own = {"mlflow.user": _user(), "mlflow.source.name": "forgeline", "mlflow.source.type": "JOB"}
        texts = {key: tracked_value(redact(value), TAG_LIMIT) for key, value in (tags or {}).items()}
        with self.guarded():
            run = self.client.create_run(self._experiment_id(experiment), tags=own | texts, run_name=name)
        return str(run.info.run_id)

    def reopen(self, run_id: str) -> None:
        """Let a run that ended go on: its status is RUNNING again, and how it ended is forgotten."""
        with self.guarded():
            self.client.update_run(run_id, status="RUNNING")
            known = self.client.get_run(run_id).data.tags
            for tag in (STATE_TAG, _REASON_TAG):
                if tag in known:
                    self.client.delete_tag(run_id, tag)

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log parameters. MLflow never changes one: a resumed run's change goes to a tag `forgeline.changed.<key>`."""
        from mlflow.entities import Param

        wanted = {tracked_key(key): tracked_value(redact(str(value)), PARAM_LIMIT) for key, value in params.items()}
        with self.guarded():
            known = self.client.get_run(run_id).data.params
            new = [Param(key, value) for key, value in wanted.items() if key not in known]
            for batch in _batches(new, MAX_PARAMS):
                self.client.log_batch(run_id, params=batch)
        changed = {key: value for key, value in wanted.items() if key in known and known[key] != value}
        if changed:
            self.set_tags(run_id, {f"forgeline.changed.{key}": value for key, value in changed.items()})

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, over those of the same name."""
        from mlflow.entities import RunTag

        texts = [RunTag(tracked_key(key), tracked_value(redact(value), TAG_LIMIT)) for key, value in tags.items()]
        with self.guarded():
            for batch in _batches(texts, MAX_PARAMS):
                self.client.log_batch(run_id, tags=batch)

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Log metric values, 1,000 a call; values that are not finite are kept as far as MLflow can."""
        from mlflow.entities import Metric

        metrics = [Metric(tracked_key(point.key), float(point.value), point.time_ms, point.step) for point in points]
        with self.guarded():
            for batch in _batches(metrics, MAX_POINTS):
                self.client.log_batch(run_id, metrics=batch)

    def log_artifacts(self, run_id: str, path: Path, to: str = "") -> None:
        """Log a file, or all files of a folder; nothing when there is no such folder.

        Args:
            to: folder inside the run's artifacts.
        """
        with self.guarded():
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), to or None)
            elif path.exists():
                self.client.log_artifact(run_id, str(path), to or None)

    def log_text(self, run_id: str, text: str, to: str) -> None:
        """Log a text as the file `to` inside the run's artifacts."""
        with self.guarded():
            self.client.log_text(run_id, text, to)

    def finish(self, run_id: str, state: State | str, *, reason: str | None = None) -> None:
        """Write the final state."""
        final = State(state)
        tags = {STATE_TAG: str(final)} | ({_REASON_TAG: str(reason)} if reason else {})
        self.set_tags(run_id, tags)
        with self.guarded():
            self.client.set_terminated(run_id, status=_STATUS[final])

    def get(self, run_id: str) -> TrackedRun:
        """What the store has of a run.

        Raises:
            NotFound: it has no such run.
        """
        with self.guarded():
            run: Run = self.client.get_run(run_id)
        return TrackedRun(
            id=run.info.run_id,
            status=run.info.status,
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(run.data.tags),
            artifact_uri=run.info.artifact_uri,
        )

    def last_steps(self, run_id: str) -> dict[str, int]:
        """Of each metric of a run, by its tracked key, the highest step that the store has.

        Raises:
            NotFound: it has no such run.
        """
        with self.guarded():
            run: Run = self.client.get_run(run_id)
        return {metric.key: metric.step for metric in run.data.to_proto().metrics}

    def metric_history(self, run_id: str, key: str) -> list[Point]:
        """All values of a metric, by step and time."""
        with self.guarded():
            metrics = self.client.get_metric_history(run_id, tracked_key(key))
        points = [Point(key=key, value=one.value, step=one.step, time_ms=one.timestamp) for one in metrics]
        return sorted(points, key=lambda point: (point.step, point.time_ms))

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what MLflow and its transport raise into TrackingError and NotFound, without credentials."""
        try:
            yield
        except (TrackingError, NotFound):
            raise
        except Exception as error:
            text = _first_lines(redact(str(error))) or type(error).__name__
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                raise NotFound(f"the tracking store at {redact(self.uri)} says: {text}") from error
            raise TrackingError(
                f"the tracking store at {redact(self.uri)} did not do what was asked: {text}; "
                "look at MLFLOW_TRACKING_URI and at the server's log"
            ) from error

    def _experiment_id(self, name: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known is None:
            location = f"{self._artifact_root.rstrip('/')}/{quote(name, safe='')}" if self._artifact_root else None
            try:
                return self.client.create_experiment(name, artifact_location=location)
            except Exception:
                # Another process may have created it meanwhile.
                known = self.client.get_experiment_by_name(name)
                if known is None:
                    raise
        if known.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {name!r} was deleted; restore it in MLflow, or set FORGELINE_EXPERIMENT to another name"
            )
        return str(known.experiment_id)


@contextmanager
def _turn(uri: str) -> Iterator[None]:
    """Hold the lock beside a SQLite store while it is opened, and perhaps created."""
    file = sqlite_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{file}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            # Kept in the file: readers and a writer do not wait for each other, and a batch is cheaper to write.
            connection = sqlite3.connect(file)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()
        yield


def _batches(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _first_lines(text: str) -> str:
    return " ".join(text.strip().splitlines()[:2])[:500]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id without a name.
        return str(os.getuid())
