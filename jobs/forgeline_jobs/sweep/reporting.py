"""What a sweep leaves when it ends: the best trial's spec and the report, in its folder and in the tracking store."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from forgeline.errors import TrackingError
from forgeline_jobs.sweep import points
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.standing import standing
from forgeline_jobs.sweep.trials import Outcome, course

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext

BEST = "best.yaml"
"""The best trial's train spec, in the folder of artifacts."""


def leave(context: RunContext, spec: SweepSpec) -> None:
    """Write and send them, where a trial has ended; what fails of a report or of the sending is told, and no more."""
    found = standing(context.ledger, context.ledger.get(context.run_id))
    if len(found.trials) == found.counts[Outcome.OPEN]:
        return
    folder = context.paths.artifacts
    folder.mkdir(parents=True, exist_ok=True)
    if found.front:
        (folder / BEST).write_text(
            points.best_spec(spec, course(found.trials, found.front[0].number)).text, encoding="utf-8"
        )
    try:
        from forgeline_jobs.sweep import report  # imports matplotlib, which only the end of a sweep pays for

        context.message(f"report: {report.write(folder, found)}")
    except Exception as error:  # no picture is worth a sweep
        traceback.print_exc()
        context.message(f"the report could not be written ({error}); driver.log says more", level="warning")
    try:
        context.tracker.log_artifacts(context.run_id, folder, "sweep")
    except TrackingError as error:
        context.message(f"what is in {folder} did not reach the tracking store: {error}", level="warning")
