"""What a monitor goes by, written down so that windows can be replayed without the models: policy and references."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from forgeline.bundle.reference import Reference
from forgeline_deploy.monitor import window_file
from forgeline_deploy.monitor.spec import MonitorConfig
from forgeline_deploy.monitor.store import WindowFolder, WindowStore
from forgeline_deploy.monitor.window_file import SealedFile

POLICY, REFERENCE = "monitor.policy", "monitor.reference"


class ReferenceBook:
    """Writes the policy and the references of a run, each once."""

    def __init__(self, store: WindowStore) -> None:
        self._store = store

    def write(self, config: MonitorConfig, references: Mapping[str, Reference]) -> None:
        """Write what is not written yet.

        Raises:
            OSError, LedgerError: it cannot be written.
        """
        known = self._store.journal.entries
        policy = config.model_dump(mode="json")
        new: list[dict[str, Any]] = []
        if latest_policy(known) != policy:
            new.append({"entry": POLICY, "policy": policy})
        sealed = reference_files(known)
        for version, reference in references.items():
            content = json.dumps(reference.model_dump(mode="json"), sort_keys=True).encode()
            file = window_file.seal(self._store.folder.path, "reference", content, suffix=".json")
            if sealed.get(version) != file:
                told = {"name": file.name, "sha256": file.sha256}
                new.append({"entry": REFERENCE, "version": version, "file": told})
        if new:
            self._store.write(*new)


def latest_policy(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The policy that a run goes by, as it was written last."""
    policies = [entry["policy"] for entry in entries if entry.get("entry") == POLICY]
    return policies[-1] if policies else None


def reference_files(entries: Iterable[Mapping[str, Any]]) -> dict[str, SealedFile]:
    """The files of references, by version."""
    found = [entry for entry in entries if entry.get("entry") == REFERENCE]
    return {entry["version"]: SealedFile(**entry["file"]) for entry in found}


def read_references(folder: WindowFolder, entries: Iterable[Mapping[str, Any]]) -> dict[str, Reference]:
    """The references that the windows of a run are held against, by version.

    Raises:
        WindowCorrupted: one is not as it was stored.
    """
    files = reference_files(entries)
    return {
        version: Reference.model_validate_json(window_file.sealed_bytes(folder.path, file))
        for version, file in files.items()
    }
