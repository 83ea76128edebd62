"""Bringing a bundle to this machine: used where it is when it is a local folder, else copied once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from forgeline.errors import BundleError, BundleTampered
from forgeline.masking import redact
from forgeline.registry.catalogue import DIGEST_TAG
from forgeline.tracking.tracker import Tracker

BUNDLE = "bundle.json"


def bundle_in(folder: Path) -> Path | None:
    """`folder`, or the folder in it that holds a bundle (MLflow puts it below `data`); None when there is none."""
    if (folder / BUNDLE).is_file():
        return folder
    found = [*sorted(folder.glob(f"*/{BUNDLE}")), *sorted(folder.glob(f"data/*/{BUNDLE}"))]
    return found[0].parent if found else None


def digest_of(bundle: Path) -> str:
    """sha256 of a bundle's manifest, and through the digests in it of the whole bundle.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        return hashlib.sha256((bundle / BUNDLE).read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"{bundle / BUNDLE} cannot be read: {error.strerror}") from error


def local_copy(source: str, tracker: Tracker, *, digest: str | None, cache: Path) -> Path | None:
    """The bundle among the files at `source`; None when there is none.

    Args:
        source: URI of a model's files.
        tracker: the store that can read it.
        digest: of the bundle that is wanted; None takes what is there.
        cache: where copies of remote files are kept.

    Raises:
        TrackingError: the files cannot be read.
        BundleTampered: the bundle there is another one.
    """
    local = local_path(source)
    if local is not None:
        return _same(bundle_in(local), digest, source)
    kept = cache / (digest or hashlib.sha256(source.encode()).hexdigest())[:32]
    if not kept.exists():
        _download(source, tracker, kept, digest)
    return _same(bundle_in(kept), digest, source)


def _same(bundle: Path | None, digest: str | None, source: str) -> Path | None:
    if bundle is None or digest is None or (found := digest_of(bundle)) == digest:
        return bundle
    raise BundleTampered(
        f"the bundle at {redact(source)} is not the one that was registered: sha256 {found[:12]}…, the version's tag "
        f"{DIGEST_TAG} says {digest[:12]}…; register the model again"
    )


def _download(source: str, tracker: Tracker, target: Path, digest: str | None) -> None:
    """All or nothing: another process must never meet half a copy, nor the copy of another bundle."""
    assert tracker.client is not None  # before MLflow is imported here, so that it is quiet
    from mlflow import artifacts

    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetching-"))
    try:
        with tracker.guarded():
            fetched = Path(artifacts.download_artifacts(source, dst_path=str(staging), tracking_uri=tracker.uri))
        _same(bundle_in(fetched), digest, source)
        try:
            os.replace(fetched, target)
        except OSError:
            # Another process was quicker; its copy is as good.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def local_path(source: str) -> Path | None:
    """The path that a URI of a local file means; None for any other."""
    parts = urlsplit(source)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(source) if not parts.scheme else None
