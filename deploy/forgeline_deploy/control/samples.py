"""Labelled samples of a deployment, for a retraining: contents that windows kept, beside the labels that came."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from forgeline.errors import UsageError
from forgeline.preprocessing.recent import write_images, write_rows
from forgeline_deploy.monitor import window_file
from forgeline_deploy.monitor.labels import label_files
from forgeline_deploy.monitor.recorded import FOLDER
from forgeline_deploy.monitor.store import WindowFolder, stored_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forgeline.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One request whose content was kept and whose label came.

    Attributes:
        request: its id.
        content: as `ReplicaRecorder` wrote it.
        label: as text.
        end: of its window, unix seconds.
    """

    request: str
    content: str
    label: str
    end: float


class RecentSamples:
    """Reads them from what the monitor stored.

    Args:
        entries: of the deployment's journal.
        folder: `windows` in the run's folder.
        preprocessing: of the model.
        target: name of the column that is predicted, for rows of a table.
    """

    def __init__(
        self, entries: Sequence[Any], folder: Path, preprocessing: Preprocessing, *, target: str | None
    ) -> None:
        self._windows = stored_windows(entries)
        self._labels = label_files(entries)
        self._folder = WindowFolder(folder)
        self._preprocessing = preprocessing
        self._target = target

    def all(self, *, since: float) -> list[Sample]:
        """The samples of windows that ended after a moment, in the order of their requests' windows.

        Raises:
            WindowCorrupted: a file is not as it was stored.
        """
        labels: dict[str, tuple[int, str]] = {}
        for file in self._labels:
            content = window_file.sealed_bytes(self._folder.path, file.joined)
            table = pq.read_table(io.BytesIO(content), columns=["window", "request", "label"])
            for row in table.to_pylist():
                labels.setdefault(row["request"], (row["window"], row["label"]))
        wanted = {number for number, _ in labels.values() if self._windows[number].end > since}
        contents = {request: content for number in sorted(wanted) for request, content in self._contents(number)}
        return [
            Sample(request=request, content=contents[request], label=label, end=self._windows[number].end)
            for request, (number, label) in sorted(labels.items(), key=lambda item: (item[1][0], item[0]))
            if request in contents and number in wanted
        ]

    def write(self, folder: Path, *, since: float, most: int) -> Path:
        """Write the newest of them into a folder; returns the file.

        Raises:
            UsageError: models of this kind are not trained again from what they were asked.
        """
        samples = self.all(since=since)[-most:]
        requests = [sample.request for sample in samples]
        kind = self._preprocessing.kind
        if kind == "image":
            path = folder / "recent.npz"
            write_images(path, np.stack([_pixels(s.content) for s in samples]), [s.label for s in samples], requests)
            return path
        if kind == "table" and self._target is not None:
            import pandas as pd

            path = folder / "recent.parquet"
            rows = pd.DataFrame([json.loads(sample.content) for sample in samples])
            write_rows(path, rows.assign(**{self._target: [sample.label for sample in samples]}), requests)
            return path
        raise UsageError(
            f"this model reads {kind}; retrained from what they were asked are models of tables and images"
        )

    def _contents(self, number: int) -> Iterator[tuple[str, str]]:
        window, _ = self._folder.read(self._windows[number])
        for part in window.parts.values():
            for payload in part.payloads:
                if payload.content:
                    yield payload.request, payload.content


def _pixels(content: str) -> Any:
    """What `.npy` in base64 holds; nothing in it is ever executed."""
    return np.load(io.BytesIO(base64.b64decode(json.loads(content)["npy"])), allow_pickle=False)


def recent_samples(entries: Sequence[Any], folder: Path, bundle: Path) -> RecentSamples:
    """The labelled samples of a deployment.

    Args:
        entries: of its journal.
        folder: of its run.
        bundle: of the champion.
    """
    from forgeline.bundle import Bundle

    loaded = Bundle.load(bundle)
    data = loaded.manifest.data
    targets = [] if data is None else list(data.summary.get("targets", ()))
    target = str(targets[0]) if len(targets) == 1 else None
    return RecentSamples(entries, folder / FOLDER, loaded.preprocessing, target=target)
