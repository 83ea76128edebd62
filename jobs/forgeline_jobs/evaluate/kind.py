"""The kind `evaluate`: checked in the command's process, measured in a Ray task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import SpecError, TrackingError
from forgeline.tracking.spool import Spool
from forgeline_jobs.evaluate.spec import EvaluateSpec
from forgeline_jobs.remote import run_task

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext


class EvaluateKind:
    """Measures a model."""

    def check(self, spec: EvaluateSpec) -> None:
        """Find the model and its data.

        Raises:
            NotFound: no such model.
            SpecError: the data are not there, changed, or do not fit the model, or a setting is for generators.
            UsageError: an option is none of the model's family.
        """
        from forgeline.bundle import Bundle
        from forgeline_jobs.evaluate.measurement import data_of

        bundle = Bundle.load(spec.model)
        for key, given in (("options", spec.options), ("untrained", spec.untrained), ("inception", spec.inception)):
            if given and bundle.task != "generation":
                raise SpecError(
                    f"got {given}; it is for generators, the model is for {bundle.task}: remove it", key=key
                )
        data_of(bundle, spec.data, options=spec.options, inception=spec.inception)

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Measure, and log the figures and the report to the tracking store."""
        from forgeline.bundle import Bundle

        spec = cast(EvaluateSpec, context.spec)
        from forgeline_jobs.evaluate.measurement import Task

        task = Task(
            bundle=str(Bundle.load(spec.model).folder),
            data=None if spec.data is None else spec.data.model_dump(mode="json"),
            split=spec.split,
            batch_size=spec.batch_size,
            device="cuda" if spec.resources.gpus_per_worker else "cpu",
            folder=str(context.paths.artifacts),
            home=str(context.paths.home),
            options=spec.options,
            untrained=spec.untrained,
            inception=spec.inception,
        )
        result = run_task(context, measure_task, asdict(task))
        _measured(context, result["metrics"])
        try:
            _track(context, result)
        except TrackingError as error:
            context.message(f"the report did not reach the tracking store: {error}", level="warning")
        for note in result["notes"]:
            context.message(note)
        for remark in result["remarks"]:
            context.message(remark, level="warning")
        context.message(f"wrote the report to {context.paths.artifacts / 'report.md'}")
        return result


def _measured(context: RunContext, metrics: Mapping[str, float]) -> None:
    """Write the figures down; they are sent while the tracking store answers."""
    path = context.paths.spool(attempt=context.attempt, rank=0)
    with Spool(path) as spool:
        spool.metrics(0, metrics)
    context.watch_spool(path)


def _track(context: RunContext, result: Mapping[str, Any]) -> None:
    context.tracker.log_params(context.run_id, {"data.fingerprint": result["fingerprint"]})
    context.tracker.log_artifacts(context.run_id, context.paths.artifacts, "report")


def measure_task(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in the Ray worker."""
    from forgeline_jobs.evaluate.measurement import Task, measure

    return measure(Task(**task))
