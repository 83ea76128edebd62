"""Making a trial's run a copy of another's: its checkpoints become those of the other, whose they are linked to.

Checkpoints are never written to after they are sealed, so that both runs may hold the same files: a copy takes no room
on the disk, and what one run deletes later the other still has.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from forgeline.paths import RunPaths
from forgeline_jobs.sweep.trial_run import earlier, measured_at
from forgeline_jobs.train import checkpoint

ORIGIN = "origin.json"
"""In a run's folder of checkpoints: which run, and where in the sweep, they were copied from last."""


def is_made(target: RunPaths, source: str, step: int) -> bool:
    """Whether a run's checkpoints are a copy already, or what it has trained since."""
    try:
        told = json.loads((target.checkpoints / ORIGIN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return bool(told == _origin(source, step))


def is_possible(source: RunPaths, step: int, unit: str) -> bool:
    """Whether a run has the checkpoint that belongs to its measurement there; it may have failed between the two."""
    steps = (event["step"] for event in earlier(source) if measured_at(event, unit) == step)
    folders = (source.checkpoints / checkpoint.folder_name(int(at)) for at in steps)
    return any((folder / checkpoint.MANIFEST).exists() for folder in folders)


def make(target: RunPaths, source: RunPaths, step: int) -> None:
    """Put links to the source's checkpoints in the place of the target's; killed anywhere, it is begun again.

    Args:
        target: of a run that does not work now.
        source: of another one.
        step: of the sweep at which they are the same, for `is_made`.
    """
    making = target.root / "checkpoints.copied"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for folder in checkpoint.folders(source.checkpoints):
        shutil.copytree(folder, making / folder.name, copy_function=_link)
    (making / ORIGIN).write_text(json.dumps(_origin(source.run_id, step)), encoding="utf-8")
    shutil.rmtree(target.checkpoints, ignore_errors=True)
    os.replace(making, target.checkpoints)


def _origin(source: str, step: int) -> dict[str, str | int]:
    return {"source": source, "step": step}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, Path(target))
