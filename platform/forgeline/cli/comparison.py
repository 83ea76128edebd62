"""What differs between runs: their specifications, metrics, data, code and packages. What is the same is left out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError
from forgeline.launching.recording import flatten
from forgeline.masking import masked
from forgeline.spec.source import read_document

if TYPE_CHECKING:
    from forgeline.api import Run
    from forgeline.tracking.tracker import Tracker

_TAGS = {
    "mlflow.source.git.commit": "git commit",
    "mlflow.source.git.branch": "git branch",
    "forgeline.code.dirty": "uncommitted changes",
    "forgeline.host": "host",
    "forgeline.python": "python",
    "forgeline.gpus": "gpus",
}


def differences(runs: Sequence[Run], tracker: Tracker) -> list[dict[str, Any]]:
    """One row for everything that differs: `what`, then each run's value under its id.

    Args:
        runs: two or more.
        tracker: knows their data, code and packages; without an answer from it those are left out, and that is said.
    """
    facts = [dict(_facts(run)) | _tracked(run, tracker) for run in runs]
    rows = []
    for name in dict.fromkeys(name for known in facts for name in known):
        values = [known.get(name) for known in facts]
        if any(value != values[0] for value in values[1:]):
            rows.append({"what": name, **{run.id: value for run, value in zip(runs, values, strict=True)}})
    return rows


def _facts(run: Run) -> Iterator[tuple[str, Any]]:
    record = run.record
    yield "state", str(record.state)
    yield from flatten(masked(read_document(record.spec).data))
    yield from sorted(run.metrics.items())


def _tracked(run: Run, tracker: Tracker) -> dict[str, Any]:
    """The data's fingerprint, the code's commit, the host, and every installed package."""
    try:
        known = tracker.get(run.id)
        facts: dict[str, Any] = {"data.fingerprint": known.params.get("data.fingerprint")}
        facts |= {name: known.tags.get(tag) for tag, name in _TAGS.items()}
        return facts | {f"package {name}": version for name, version in _packages(run, tracker).items()}
    except ForgelineError as error:
        print(f"warning: data, code and packages of {run.id} are not compared: {error}", file=sys.stderr)
        return {}


def _packages(run: Run, tracker: Tracker) -> dict[str, str]:
    uri = f"{tracker.get(run.id).artifact_uri}/environment/packages.json"
    with tracker.guarded():
        from mlflow.artifacts import load_text

        return dict(json.loads(load_text(uri)))
