"""What a gate saw when it judged a version: kept as JSON with the run that made it, and bound to the bundle's bytes.

The version's tag has the sha256 of the JSON, the JSON has the digest of the bundle, and the history of aliases has
both by the sha256 in the reason of the move. Altered bytes of either are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgeline.errors import BundleError, BundleTampered
from forgeline.masking import redact
from forgeline.registry.catalogue import EVIDENCE_TAG, ModelVersion
from forgeline.registry.fetching import local_path
from forgeline.tracking.tracker import Tracker

EVIDENCE_FOLDER = "evidence"
"""Folder of a run's artifacts, with a file for each verdict, named after its sha256."""

MODEL_FOLDER = "model"
"""Folder of a run's artifacts that holds its MLflow models, each in a folder named after its bundle's digest."""

LARGEST_BYTES = 8 * 2**20
_STRICT = ConfigDict(frozen=True, extra="forbid")


class FindingRecord(BaseModel):
    """What became of one condition, or of one part of it."""

    model_config = _STRICT

    condition: int = Field(description="Place of the condition in the gate, from 0.")
    held: bool
    reason: str
    figures: dict[str, Any]


class RivalRecord(BaseModel):
    """The version that was compared with."""

    model_config = _STRICT

    version: int
    digest: str | None


class DataRecordOfGate(BaseModel):
    """The samples that were measured on."""

    model_config = _STRICT

    name: str
    fingerprint: str
    samples: dict[str, int] = Field(description="Split -> how many.")


class Evidence(BaseModel):
    """A verdict with all that it rests on."""

    model_config = _STRICT

    format: Literal[1] = 1
    forgeline: str
    model: str
    bundle_digest: str
    judged: str = Field(description="When, in UTC.")
    passed: bool
    gate: list[dict[str, Any]] = Field(description="The conditions, as they were written.")
    findings: list[FindingRecord]
    rivals: dict[str, RivalRecord | None] = Field(description="Alias -> the version that had it; null where none had.")
    data: DataRecordOfGate | None
    notes: list[str]

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"


def digest_of_text(text: str) -> str:
    """sha256 of evidence, as the version's tag has it."""
    return hashlib.sha256(text.encode()).hexdigest()


def keep(evidence: Evidence, version: ModelVersion, tracker: Tracker) -> str:
    """Store evidence with its version; returns its sha256.

    Raises:
        BundleTampered: it is of another bundle.
        BundleError: the version was not registered by a run.
        TrackingError: the store does not answer.
    """
    _check_bound(evidence, version)
    _folder_of(version)
    text = evidence.text()
    digest = digest_of_text(text)
    assert version.run_id is not None
    tracker.log_text(version.run_id, text, f"{EVIDENCE_FOLDER}/{digest}.json")
    with tracker.guarded():
        tracker.client.set_model_version_tag(version.model, str(version.version), EVIDENCE_TAG, digest)
    return digest


def read(version: ModelVersion, tracker: Tracker, *, cache: Path) -> Evidence | None:
    """The evidence of a version's last verdict; None where no gate judged it.

    Args:
        version: as the registry has it now.
        tracker: the store that can read the run's files.
        cache: where copies of remote ones are kept.

    Raises:
        BundleTampered: its bytes are not those that the version's tag speaks of, or it is of another bundle.
        BundleError: it is not there, or is no evidence.
        TrackingError: the store does not answer.
    """
    digest = version.tags.get(EVIDENCE_TAG)
    if digest is None:
        return None
    content = _content(f"{_folder_of(version)}/{digest}.json", digest, tracker, cache)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise BundleTampered(
            f"the evidence of {version.model} version {version.version} is not what was written: sha256 "
            f"{found[:12]}…, the version's tag {EVIDENCE_TAG} says {digest[:12]}…; have a gate judge it again: "
            f"`forgeline models promote {version.model} {version.version} --gate …`"
        )
    try:
        evidence = Evidence.model_validate_json(content)
    except ValidationError as error:
        named = f"{version.model} version {version.version}"
        raise BundleError(f"the evidence of {named} cannot be read: {error.errors()[0]['msg']}") from error
    _check_bound(evidence, version)
    return evidence


def _check_bound(evidence: Evidence, version: ModelVersion) -> None:
    if evidence.bundle_digest != version.digest or evidence.model != version.model:
        raise BundleTampered(
            f"the evidence of {version.model} version {version.version} is of other bytes: it is of a bundle of "
            f"{evidence.model} with sha256 {evidence.bundle_digest[:12]}…, the version's is "
            f"{(version.digest or 'unknown')[:12]}…; have a gate judge this version"
        )


def _folder_of(version: ModelVersion) -> str:
    """Where evidence is, beside the model's files."""
    root, found, _ = version.source.rpartition(f"/{MODEL_FOLDER}/")
    if not found or version.run_id is None:
        raise BundleError(
            f"{version.model} version {version.version} was not registered by a run, so there is no place for evidence "
            "of a gate; register it by a train spec, or promote it without a gate"
        )
    return f"{root}/{EVIDENCE_FOLDER}"


def _content(uri: str, digest: str, tracker: Tracker, cache: Path) -> bytes:
    local = local_path(uri)
    if local is None:
        local = cache / f"{Path(digest).name}.json"
        if not local.exists():
            _download(uri, tracker, local)
    try:
        if local.stat().st_size > LARGEST_BYTES:
            raise BundleError(f"{redact(uri)} is larger than {LARGEST_BYTES:,} bytes, which no evidence is")
        return local.read_bytes()
    except OSError as error:
        raise BundleError(f"the evidence at {redact(uri)} cannot be read: {error.strerror}") from error


def _download(uri: str, tracker: Tracker, target: Path) -> None:
    assert tracker.client is not None  # before MLflow is imported here, so that it is quiet
    from mlflow import artifacts

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as staging, tracker.guarded():
        fetched = Path(artifacts.download_artifacts(uri, dst_path=staging, tracking_uri=tracker.uri))
        os.replace(fetched, target)
