"""The kind `train`: what is checked before Ray starts, and the driver's side of a run, attempt by attempt."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from forgeline import metrics, plugins
from forgeline.errors import DataError, RunCancelled, RunFailed, SpecError, TrackingError
from forgeline.registry.conditions import main_metric
from forgeline_jobs.train import rehearsal
from forgeline_jobs.train.changes import with_changes
from forgeline_jobs.train.checkpoint_copies import CheckpointCopies
from forgeline_jobs.train.course import Course
from forgeline_jobs.train.gate_check import check_class, check_gate, figures_of
from forgeline_jobs.train.preparation import described, numbering_warning, prepare
from forgeline_jobs.train.schedule import Schedule
from forgeline_jobs.train.spec import TrainSpec
from forgeline_jobs.train.strategies.checks import check_architecture, check_blocks
from forgeline_jobs.train.worker import RESULT, Job

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext
    from forgeline.planning import Plan, Question
    from forgeline.plugins import ArchitectureDescriptor
    from forgeline_jobs.data.base import PreparedData

SMOOTHED = ("classification", "token_classification", "translation")  # tasks whose loss takes `trainer.label_smoothing`


class TrainKind:
    """Trains a model and registers it."""

    def check(self, spec: TrainSpec) -> dict[str, Any]:
        """Read the data and hold architecture, length, options and gate against each other.

        Returns:
            What the data hold.

        Raises:
            SpecError: what is wrong and which key to change.
        """
        if spec.checkpoint.copy_to is not None:
            CheckpointCopies(spec.checkpoint.copy_to, spec.name).check()  # a run that goes on may do without
        return self._check(spec, pretrained=spec.fine_tune.pretrained is not None)

    def check_resumed(self, spec: TrainSpec) -> dict[str, Any]:
        """As `check`, of a run that has a checkpoint: the weights that it began from are not needed any more.

        Raises:
            SpecError: what is wrong and which key to change.
        """
        tuning = spec.fine_tune.model_copy(update={"pretrained": None, "parts": {}})
        architecture = rehearsal.without_weights(spec.architecture)
        going_on = spec.model_copy(update={"architecture": architecture, "fine_tune": tuning})
        return self._check(going_on, pretrained=True)

    def plan(self, spec: TrainSpec, question: Question) -> Plan:
        """What training would need and cost, counted on the model itself; see `forgeline_jobs.train.plan`.

        Raises:
            SpecError: what is wrong and which key to change.
            UsageError: there is no such GPU.
        """
        self.check(spec)
        from forgeline_jobs.train.plan.answer import Answer  # it builds the model, for which torch is needed

        data = prepare(spec.data, verify=False)
        schedule = Schedule.of_run(spec, len(data.splits["train"]))
        fixed = spec.with_workers(spec.workers)
        plan = Answer(spec=fixed, data=data, schedule=schedule, question=question).plan()
        if not spec.resources.is_elastic:
            return plan
        counts = ", ".join(map(str, spec.worker_counts))
        note = (
            f"of {spec.resources.workers} workers the run takes {counts}; planned with {spec.workers}, which hold most"
        )
        return replace(plan, data={**plan.data, "worker_counts": list(spec.worker_counts)}, notes=[note, *plan.notes])

    def _check(self, spec: TrainSpec, *, pretrained: bool) -> dict[str, Any]:
        data = prepare(spec.data)
        rows = len(data.splits["train"])
        if rows < spec.data.batch_size:
            raise DataError(
                f"batch_size {spec.data.batch_size} is larger than the training split of {rows}; "
                f"set data.batch_size to at most {rows}",
                key="data.batch_size",
            )
        schedule = Schedule.of_run(spec, rows)
        architecture = self._check_architecture(spec, data)
        self._check_batch(spec)
        self._check_run(spec, architecture, schedule, pretrained=pretrained)
        self._check_metric(spec, data)
        self._check_val(spec)
        for count in range(len(spec.changes) + 1):
            self._check_options(with_changes(spec, count), data.signature.task)
        self._check_own_steps(spec, architecture)
        self._check_compile(spec, architecture)
        check_architecture(spec, architecture)
        check_blocks(spec, architecture)
        tuning = spec.fine_tune
        if tuning.pretrained is not None or tuning.parts or tuning.adapter is not None:
            from forgeline_jobs.train import transfer  # it builds the model, for which torch is needed

            transfer.check(spec, data)
        if rehearsal.needed(spec):
            rehearsal.check(spec, data, total_steps=schedule.total_steps)
        warning = numbering_warning(spec, data)
        return described(data) | ({"warning": warning} if warning else {})

    @staticmethod
    def _check_architecture(spec: TrainSpec, data: PreparedData) -> ArchitectureDescriptor:
        architecture = cast(
            "ArchitectureDescriptor",
            plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name"),
        )
        try:
            architecture.check(spec.architecture.model_dump(mode="json"), data.signature.model_dump(mode="json"))
        except ValueError as error:
            raise SpecError(str(error), key="architecture") from error
        return architecture

    @staticmethod
    def _check_batch(spec: TrainSpec) -> None:
        """That each worker has as many samples in a step as the model takes; frozen norms take any number."""
        fewest = getattr(spec.architecture, "fewest_samples", 1)  # which a config of somebody else may not say
        workers, micro = spec.readers, spec.trainer.micro_batch
        each = spec.data.batch_size // workers
        if spec.fine_tune.freeze or spec.fine_tune.adapter is not None:
            return
        if isinstance(micro, int) and micro < fewest <= each:
            raise SpecError(
                f"got {micro}; {spec.architecture.name} normalises samples over one another and takes {fewest} or more "
                f"together: set it to a divisor of {each} from {fewest} on",
                key="trainer.micro_batch",
            )
        if each < fewest:
            lower = ", or lower resources.workers" if workers > 1 else ""
            raise SpecError(
                f"got {spec.data.batch_size}, {each} for each worker in a step; {spec.architecture.name} normalises "
                f"samples over one another and takes {fewest} or more: set it to at least {fewest * workers}{lower}",
                key="data.batch_size",
            )

    @staticmethod
    def _check_run(
        spec: TrainSpec, architecture: ArchitectureDescriptor, schedule: Schedule, *, pretrained: bool
    ) -> None:
        """What a model that learns in stages needs of the run."""
        check = getattr(architecture, "check_run", None)  # which a plug-in of somebody else may not have
        if check is None:
            return
        try:
            check(spec.architecture.model_dump(mode="json"), total_steps=schedule.total_steps, pretrained=pretrained)
        except ValueError as error:
            raise SpecError(str(error), key="architecture") from error

    @staticmethod
    def _check_metric(spec: TrainSpec, data: PreparedData) -> None:
        named = [("checkpoint.metric", spec.checkpoint.metric)] if spec.checkpoint.metric is not None else []
        if spec.register_ is not None:
            check_gate(spec.register_.gate, data)
            named += figures_of(spec.register_.gate)
        for key, metric in named:
            info = metrics.metric_info(data.signature.task, metric, key=key)
            if not info.in_training:
                raise SpecError(f"got {metric!r}, which `evaluate` alone measures; training has val/loss", key=key)
            if not metric.startswith("val/"):
                raise SpecError(f"got {metric!r}; training measures the validation split: val/NAME", key=key)
            check_class(metric, data, key=key)

    @staticmethod
    def _check_val(spec: TrainSpec) -> None:
        """What was trained on shows nothing any more."""
        if getattr(spec.data, "train_on", "train") == "train":
            return
        if spec.checkpoint.select == "best":
            raise SpecError(
                "got best, and the validation split is trained on (data.train_on train+val): set it to last",
                key="checkpoint.select",
            )
        if spec.register_ is not None and spec.register_.gate is not None:
            what = main_metric(spec.register_.gate) or "a gate"
            raise SpecError(
                f"got {what}, and the validation split is trained on (data.train_on train+val): leave the gate out, "
                "or train on train",
                key="register.gate",
            )

    @staticmethod
    def _check_options(spec: TrainSpec, task: str) -> None:
        if spec.trainer.label_smoothing and task not in SMOOTHED:
            raise SpecError(
                f"got {spec.trainer.label_smoothing}; label smoothing is for {', '.join(SMOOTHED)}; the task is "
                f"{task}: set it to 0",
                key="trainer.label_smoothing",
            )

    @staticmethod
    def _check_own_steps(spec: TrainSpec, architecture: ArchitectureDescriptor) -> None:
        """What a module that steps several optimisers of its own cannot be told."""
        if not getattr(architecture, "own_steps", False):  # which a plug-in of somebody else may not say
            return
        if spec.trainer.accumulate > 1:
            raise SpecError(
                f"got {spec.trainer.accumulate}; {spec.architecture.name} steps two optimisers in every batch and adds "
                "up no gradients: set it to 1 and change data.batch_size",
                key="trainer.accumulate",
            )
        if spec.trainer.micro_batch is not None:
            raise SpecError(
                f"got {spec.trainer.micro_batch}; {spec.architecture.name} steps two optimisers in every batch and "
                "adds up no gradients: leave it out and change data.batch_size",
                key="trainer.micro_batch",
            )
        if spec.trainer.precision == "16-mixed":
            raise SpecError(
                f"got 16-mixed; {spec.architecture.name} steps two optimisers, whose losses one scale does not fit: "
                "set it to 32-true or bf16-mixed",
                key="trainer.precision",
            )

    @staticmethod
    def _check_compile(spec: TrainSpec, architecture: ArchitectureDescriptor) -> None:
        why_not = getattr(architecture, "not_compiled", "")  # which a plug-in of somebody else may not say
        if spec.trainer.compile and why_not:
            raise SpecError(
                f"got true; {spec.architecture.name} is not compiled ({why_not}): set it to false",
                key="trainer.compile",
            )

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Run attempts until one ends well or the retry budget of a cause is spent; then register the model."""
        spec = cast(TrainSpec, context.spec)
        return self._finish(context, Course(context, spec).run(), spec)

    @staticmethod
    def _finish(context: RunContext, job: Job, spec: TrainSpec) -> dict[str, Any]:
        written = context.paths.attempt(job.attempt) / RESULT
        if not written.exists():
            if context.until is not None and not context.cancel_requested():
                context.stop.request("paused")
            if context.cancel_requested():
                raise RunCancelled("stopped as asked; the last checkpoint is kept")
            raise RunFailed("the workers ended without a result", reason="platform_error")
        result: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
        try:
            context.tracker.log_params(context.run_id, {"data.fingerprint": result["fingerprint"]})
            context.tracker.log_artifacts(context.run_id, context.paths.artifacts, "plots")
        except TrackingError as error:
            where = context.paths.artifacts
            context.message(f"the pictures in {where} did not reach the tracking store: {error}", level="warning")
        if spec.register_ is not None:
            # Imports MLflow's model code, which only a run that registers pays for.
            from forgeline_jobs.train.registration import register

            result["registered"] = register(context, spec.register_, result, job.spec)
        return result
