"""Bringing a bundle to this machine: used where it is when it is a local folder, else copied once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from forgeline.tracking.tracker import Tracker

BUNDLE = "bundle.json"


def bundle_in(folder: Path) -> Path | None:
    """`folder`, or the folder in it that holds a bundle (MLflow puts it below `data`); None when there is none."""
    if (folder / BUNDLE).is_file():
        return folder
    found = [*sorted(folder.glob(f"*/{BUNDLE}")), *sorted(folder.glob(f"data/*/{BUNDLE}"))]
    return found[0].parent if found else None


def local_copy(source: str, tracker: Tracker, *, cache: Path) -> Path | None:
    """The bundle among the files at `source`; None when there is none.

    Args:
        source: URI of a model's files.
        tracker: the store that can read it.
        cache: where copies of remote files are kept.

    Raises:
        TrackingError: the files cannot be read.
    """
    local = _local_path(source)
    if local is not None:
        return bundle_in(local)
    kept = cache / hashlib.sha256(source.encode()).hexdigest()[:32]
    if not kept.exists():
        _download(source, tracker, kept)
    return bundle_in(kept)


def _download(source: str, tracker: Tracker, target: Path) -> None:
    """All or nothing: another process must never meet half a copy."""
    assert tracker.client is not None  # before MLflow is imported here, so that it is quiet
    from mlflow import artifacts

    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetching-"))
    try:
        with tracker.guarded():
            fetched = Path(artifacts.download_artifacts(source, dst_path=str(staging), tracking_uri=tracker.uri))
        try:
            os.replace(fetched, target)
        except OSError:
            # Another process was quicker; its copy is as good.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _local_path(source: str) -> Path | None:
    parts = urlsplit(source)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(source) if not parts.scheme else None
