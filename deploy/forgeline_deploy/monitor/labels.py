"""Labels that arrive late: Parquet files, joined to the answers of stored windows by the id of the request.

Each file is taken once, whole, by its content, some time after it was last written to. A file that cannot be read is
left until it changes, since whoever writes it may not be done. What was joined is sealed beside the windows, and counts
once the journal says so.
"""

from __future__ import annotations

import glob
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeline_deploy.monitor import window_file
from forgeline_deploy.monitor.decision import Finding
from forgeline_deploy.monitor.judging import Judge
from forgeline_deploy.monitor.pane import Answer, Stream
from forgeline_deploy.monitor.performance import ErrorSums, Labelled
from forgeline_deploy.monitor.spec import Labels
from forgeline_deploy.monitor.store import StoredWindow, WindowStore
from forgeline_deploy.monitor.window_file import SealedFile, WindowCorrupted

ENTRY = "monitor.labels"
LARGEST_BYTES = 2**30
_PLAIN = ("source", "taken", "sha256", "rows", "unknown", "duplicates", "empty")
_JOINED = pa.schema(
    [
        ("window", pa.int64()),
        ("role", pa.string()),
        ("version", pa.string()),
        ("request", pa.string()),
        ("prediction", pa.string()),
        ("confidence", pa.float64()),
        ("label", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A file of labels that was taken.

    Attributes:
        source: where it was found.
        taken: when, unix seconds.
        sha256: of its content: a file of the same content is the same file.
        joined: the labels beside their answers.
        labelled: how well the answers did, by window and stream.
        unknown: labels whose request is in no stored window that is young enough.
        duplicates: labels of requests that had one already; the first one counts.
        empty: rows without an id or without a label.
    """

    source: str
    taken: float
    sha256: str
    rows: int
    unknown: int
    duplicates: int
    empty: int
    labelled: Mapping[int, Mapping[Stream, Labelled]]
    findings: tuple[Finding, ...]
    joined: SealedFile

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> LabelFile:
        """Read from its entry in the journal."""
        labelled: dict[int, dict[Stream, Labelled]] = {}
        for window, role, version, plain in entry["labelled"]:
            labelled.setdefault(window, {})[Stream(role, version)] = Labelled.of(plain)
        return cls(
            **{name: entry[name] for name in _PLAIN},
            labelled=labelled,
            findings=tuple(Finding(**finding) for finding in entry["findings"]),
            joined=SealedFile(**entry["joined"]),
        )

    def entry(self) -> dict[str, Any]:
        """As the journal has it."""
        return {
            "entry": ENTRY,
            **{name: getattr(self, name) for name in _PLAIN},
            "labelled": [
                [window, stream.role, stream.version, found.plain()]
                for window, by_stream in self.labelled.items()
                for stream, found in by_stream.items()
            ],
            "findings": [finding.plain() for finding in self.findings],
            "joined": {"name": self.joined.name, "sha256": self.joined.sha256},
        }

    @property
    def by_stream(self) -> dict[Stream, Labelled]:
        """Over all windows."""
        return labelled_by_stream([self])


def label_files(entries: Sequence[Mapping[str, Any]]) -> list[LabelFile]:
    """The files of labels in a journal, in the order in which they were taken."""
    return [LabelFile.of(entry) for entry in entries if entry.get("entry") == ENTRY]


def labelled_by_window(files: Sequence[LabelFile]) -> dict[int, dict[str, dict[str, Any]]]:
    """How well answers did, by number of the window and stream, over all files, as JSON has it."""
    found: dict[int, dict[str, Labelled]] = {}
    for file in files:
        for number, by_stream in file.labelled.items():
            window = found.setdefault(number, {})
            for stream, labelled in by_stream.items():
                window[str(stream)] = window[str(stream)] + labelled if str(stream) in window else labelled
    return {number: {name: one.plain() for name, one in window.items()} for number, window in found.items()}


def labelled_by_stream(files: Sequence[LabelFile]) -> dict[Stream, Labelled]:
    """How well answers did, by stream, over all files."""
    found: dict[Stream, Labelled] = {}
    for file in files:
        for by_stream in file.labelled.values():
            for stream, labelled in by_stream.items():
                found[stream] = found[stream] + labelled if stream in found else labelled
    return found


@dataclass
class _Join:
    rows: list[dict[str, Any]] = field(default_factory=list)
    labelled: dict[int, dict[Stream, Labelled]] = field(default_factory=dict)


@dataclass
class _Labelled:
    """Requests that have a label, by the window that they were answered in, as long as another one may come."""

    requests: set[str] = field(default_factory=set)
    _by_window: dict[int, set[str]] = field(default_factory=dict)

    def add(self, found: Iterable[tuple[int, str]]) -> None:
        for window, request in found:
            self.requests.add(request)
            self._by_window.setdefault(window, set()).add(request)

    def forget_before(self, window: int) -> None:
        for old in [number for number in self._by_window if number < window]:
            self.requests -= self._by_window.pop(old)


class LabelDesk:
    """Takes labels in for one deployment.

    Args:
        labels: where they arrive.
        settled_s: seconds after which a file is taken that was not written to: the window that a request was answered
            in is stored by then, however soon its label came.
        store: of the deployment's run.
        now: unix seconds.
        tell: takes what a person should know, a line each.
    """

    def __init__(
        self, labels: Labels, *, settled_s: float, store: WindowStore, now: float, tell: Callable[[str], None]
    ) -> None:
        self._labels, self._settled_s, self._store, self._tell = labels, settled_s, store, tell
        self.files = label_files(store.journal.entries)
        self._taken = {file.sha256 for file in self.files}
        self._looked_at: dict[str, tuple[int, int]] = {}
        self._known = _Labelled()
        self._remember_labelled(now)

    def look(self, judge: Judge, now: float) -> list[LabelFile]:
        """Take in the files that are new and whole.

        Args:
            judge: holds what is labelled against the bounds.
            now: unix seconds; answers that are older than `within` get no labels any more.

        Returns:
            Those that were taken, each safe in the journal.

        Raises:
            OSError, LedgerError: what was joined cannot be stored; the file is taken at a later look.
        """
        self._known.forget_before(self._first_young(now))
        taken = []
        for name in sorted(glob.glob(str(self._labels.pattern), recursive=True)):
            path = Path(name)
            try:
                facts = path.stat()
            except OSError:
                continue  # it was taken away since it was listed
            stamp = facts.st_mtime_ns, facts.st_size
            if self._looked_at.get(name) == stamp or now - facts.st_mtime < self._settled_s:
                continue
            content = self._read(path, facts.st_size)
            file = None if content is None else self._take(name, content, judge, now)
            if file is not None:
                taken.append(file)
            self._looked_at[name] = stamp
        return taken

    def _read(self, path: Path, size: int) -> bytes | None:
        """The content of a whole file with the two columns; None where it is no such file, before it changes."""
        try:
            if size > LARGEST_BYTES:
                raise ValueError(f"it has {size:,} bytes; allowed: {LARGEST_BYTES:,}; split it")
            content = path.read_bytes()
            columns = pq.read_schema(io.BytesIO(content)).names
            for wanted in (self._labels.key, self._labels.label):
                if wanted not in columns:
                    raise ValueError(f"it has no column {wanted!r}; it has {', '.join(columns[:20])}")
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._tell(
                f"labels: {path} cannot be read, or is not whole yet, and is looked at again when it changes: {reason}"
            )
            return None
        return content

    def _take(self, source: str, content: bytes, judge: Judge, now: float) -> LabelFile | None:
        digest = hashlib.sha256(content).hexdigest()
        if digest in self._taken:
            return None
        try:
            given, empty, repeated = self._given(content)
        except (pa.ArrowException, OSError, ValueError) as error:
            self._tell(f"labels: {source} cannot be read and is looked at again when it changes: {error}")
            return None
        again = {request for request in given if request in self._known.requests}
        wanted = {request: label for request, label in given.items() if request not in again}
        join = self._join(wanted, now)
        unknown = len(wanted) - len({row["request"] for row in join.rows})
        by_stream: dict[Stream, Labelled] = {}
        for found in join.labelled.values():
            for stream, labelled in found.items():
                by_stream[stream] = by_stream[stream] + labelled if stream in by_stream else labelled
        file = LabelFile(
            source=source,
            taken=now,
            sha256=digest,
            rows=len(given) + empty + repeated,
            unknown=unknown,
            duplicates=len(again) + repeated,
            empty=empty,
            labelled=join.labelled,
            findings=judge.of_labels(by_stream),
            joined=window_file.seal(
                self._store.folder.path, f"labels-{len(self.files):06d}", window_file.written(join.rows, _JOINED, {})
            ),
        )
        self._store.write(file.entry())
        self.files.append(file)
        self._taken.add(digest)
        self._known.add((row["window"], row["request"]) for row in join.rows)
        self._tell_of(file)
        return file

    def _given(self, content: bytes) -> tuple[dict[str, str], int, int]:
        """Labels by request, rows that lack one of the two, and rows whose request is in the file before."""
        key, label = self._labels.key, self._labels.label
        table = pq.read_table(io.BytesIO(content), columns=[key, label]).to_pydict()
        given: dict[str, str] = {}
        empty = repeated = 0
        for request, value in zip(table[key], table[label], strict=True):
            if request in (None, "") or value is None or value != value:
                empty += 1
            elif str(request) in given:
                repeated += 1
            else:
                given[str(request)] = _text(value)
        return given, empty, repeated

    def _join(self, wanted: Mapping[str, str], now: float) -> _Join:
        join, left = _Join(), dict(wanted)
        for stored in self._young(now):
            if not left:
                break
            try:
                answers = list(self._store.folder.answers(stored))
            except WindowCorrupted as error:
                self._tell(f"labels: window {stored.number}: {error}")
                continue
            # A request may have been answered by several versions; each is held against its label.
            found = [(stream, answer) for stream, answer in answers if answer.request in left]
            for stream, answer in found:
                self._hold(join, stored.number, stream, answer, left[answer.request])
            for _, answer in found:
                left.pop(answer.request, None)
        return join

    def _young(self, now: float) -> Iterator[StoredWindow]:
        """Windows whose answers still get labels, the newest first."""
        oldest = now - self._labels.within.total_seconds()
        yield from (stored for stored in reversed(self._store.windows) if stored.end >= oldest)

    def _first_young(self, now: float) -> int:
        """Number of the first window whose answers still get labels: what was labelled before is asked for no more."""
        return min((stored.number for stored in self._young(now)), default=len(self._store.windows))

    @staticmethod
    def _hold(join: _Join, window: int, stream: Stream, answer: Answer, label: str) -> None:
        held = _held(answer, label)
        by_stream = join.labelled.setdefault(window, {})
        by_stream[stream] = by_stream[stream] + held if stream in by_stream else held
        join.rows.append(
            {
                "window": window,
                "role": stream.role,
                "version": stream.version,
                "request": answer.request,
                "prediction": answer.prediction,
                "confidence": answer.confidence,
                "label": label,
            }
        )

    def _remember_labelled(self, now: float) -> None:
        first = self._first_young(now)
        for file in self.files:
            if max(file.labelled, default=-1) < first:
                continue
            try:
                content = window_file.sealed_bytes(self._store.folder.path, file.joined)
            except WindowCorrupted as error:
                self._tell(f"labels: {error}; labels that come again for its requests count twice")
                continue
            table = pq.read_table(io.BytesIO(content), columns=["window", "request"]).to_pydict()
            self._known.add(zip(table["window"], table["request"], strict=True))
        self._known.forget_before(first)

    def _tell_of(self, file: LabelFile) -> None:
        wrong = [
            f"{count:,} {what}"
            for count, what in (
                (file.unknown, "of requests that no stored window has"),
                (file.duplicates, "of requests that had one already"),
                (file.empty, "without an id or a label"),
            )
            if count
        ]
        if wrong:
            self._tell(f"labels: of {file.rows:,} in {file.source}, {', '.join(wrong)} were left out")


def _held(answer: Answer, label: str) -> Labelled:
    """An answer against its label: by distance where it is a number without a class's confidence."""
    if answer.confidence is not None:
        return Labelled(rows=1, correct=int(answer.prediction == label))
    try:
        distance = abs(float(answer.prediction) - float(label))
    except ValueError:
        distance = math.nan
    if not math.isfinite(distance):
        return Labelled(rows=0, error=ErrorSums())
    return Labelled(rows=1, error=ErrorSums(1, distance, distance * distance))


def _text(value: Any) -> str:
    """A label as predictions are written: a class 3 is "3", also where a column has it as 3.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
