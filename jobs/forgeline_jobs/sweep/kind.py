"""The kind `sweep`: what is checked before Ray starts, and the driver's side of a sweep."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import RunCancelled, RunFailed, SpecError, UsageError
from forgeline.launching.context import GivesWay
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger, open_ledger
from forgeline.ledger.states import Reason, State
from forgeline.planning import Plan, Question
from forgeline.settings import settings
from forgeline.spec.loading import load
from forgeline_jobs.sweep import earlier, points, reporting, winners
from forgeline_jobs.sweep import plan as sweep_plan
from forgeline_jobs.sweep.budget import Budget
from forgeline_jobs.sweep.population_study import PopulationStudy
from forgeline_jobs.sweep.requirements import in_words
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.standing import standing
from forgeline_jobs.sweep.study import Study, to_go_on_with
from forgeline_jobs.sweep.trials import RETRAINED, Outcome, Trial, best, ranked, read
from forgeline_jobs.train import places
from forgeline_jobs.train.gate_check import check_class
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.preparation import prepare

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext
    from forgeline.ledger.records import RunRecord
    from forgeline.spec.envelope import Resources
    from forgeline_jobs.sweep.conductor import Conductor


class SweepKind:
    """Searches the space of a train spec."""

    # What suggestions follow from; more trials, another budget or more at once are the same sweep.
    fixed = (
        *("train", "space", "constraints", "objective", "require", "stop", "search.algorithm", "search.seed"),
        *("search.first", "search.warm_start", "search.points", "search.interval", "search.quantile"),
    )

    def check(self, spec: SweepSpec) -> Mapping[str, Any]:
        """Check the train spec at the corners of the space, and that training measures the objectives.

        Returns:
            What the data hold.

        Raises:
            SpecError: what is wrong and which key to change.
        """
        corners = points.checked(spec)
        first, *others = (points.trained(corner) for corner in corners)
        trains = TrainKind()
        found = self._located(lambda: trains.check(first))
        for other in others:
            # Data and files are looked at once; what a corner may break is whether the spec's parts fit each other.
            if (other.architecture, other.data) != (first.architecture, first.data):
                self._located(lambda other=other: trains.check(other))
        data = prepare(first.data, verify=False)
        points.directions(spec, data.signature.task)
        for key, metric in points.metrics_named(spec):
            points.measured(data.signature.task, metric, key=key)
            check_class(metric, data, key=key)
        if spec.is_population:
            points.check_intervals(spec, first)
        if spec.register_ is not None:
            self._located(lambda: trains.check(first.model_copy(update={"register_": spec.register_})))
            if spec.register_.retrain:
                points.check_retraining(first)
        if spec.search.warm_start is not None:
            earlier.trials(open_ledger(), spec)
        if spec.budget.money is not None and sweep_plan.price_of_second(Question(settings=settings())) is None:
            raise SpecError(
                f"got {spec.budget.money:g}, and the GPU has no price; set FORGELINE_GPU_PRICES, such as "
                '{"H100": 2.5} for an hour',
                key="budget.money",
            )
        if (spec.budget.money or spec.budget.gpu_seconds) and not first.resources.gpus_per_worker:
            raise SpecError("trials have no GPU to count; use budget.wall", key="budget")
        return found

    def check_continued(self, run: RunRecord, spec: SweepSpec, ledger: Ledger) -> None:
        """Whether there is something left to do for a sweep that ended.

        Raises:
            UsageError: it has all its trials, or its budget is spent.
        """
        trials = read(ledger.journal(run.id))
        wrong = next((number for number in spec.search.again if number >= len(trials)), None)
        if wrong is not None:
            raise UsageError(f"search.again: got {wrong}; sweep {run.id} has trials 0 to {len(trials) - 1}")
        population = cast(SweepSpec, load(run.spec, stored=True).spec).search.trials if spec.is_population else None
        if population not in (None, spec.search.trials):
            raise UsageError(
                f"--resume: search.trials: got {spec.search.trials}; sweep {run.id} is a population of {population}, "
                "and stays one"
            )
        left = any(trial.outcome is Outcome.OPEN for trial in trials) or to_go_on_with(trials, spec.search.again)
        # One that was killed after its last trial still has its report to write, and its best model to register.
        over = run.state is State.SUCCEEDED or run.reason is Reason.USER_ERROR
        over = over and not _retraining_is_left(ledger, run)
        if over and not left and len(trials) >= sweep_plan.most_trials(spec):
            more = (
                "a population stays as it is: begin another sweep"
                if spec.is_population
                else f"raise search.trials (--set search.trials={2 * len(trials)}), or name some of them in "
                "search.again, to go on"
            )
            raise UsageError(f"--resume: sweep {run.id} has its {len(trials)} trials; {more}")
        price = sweep_plan.price_of_second(Question(settings=settings()))
        spent = Budget(spec.budget, ledger, run.id, price=price).spent(trials)
        if spent is not None:
            raise UsageError(f"--resume: sweep {run.id}: {spent}; raise it to go on")

    def plan(self, spec: SweepSpec, question: Question) -> Plan:
        """What the sweep would cost at worst.

        Raises:
            SpecError: what is wrong and which key to change.
            UsageError: there is no such GPU.
        """
        self.check(spec)
        return sweep_plan.plan(spec, question)

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Run trials until there are enough, the budget is spent, or the sweep is stopped."""
        from forgeline_jobs.sweep.conductor import Conductor
        from forgeline_jobs.sweep.tuning import tune_trials

        spec = cast(SweepSpec, context.spec)
        first = points.trained(points.checked(spec)[0])
        maximise = points.directions(spec, prepare(first.data, verify=False).signature.task)
        journal = Journal(context.ledger, context.ledger.get(context.run_id))
        study = self._study(context, spec, journal, maximise)
        if context.resume_from is not None:
            context.tell_attempt("resume")
            ended = len(study.trials) - len(study.open_trials())
            context.message(f"{len(study.trials)} trials are known, {ended} have ended")
        price = sweep_plan.price_of_second(Question(settings=context.settings))
        if spec.budget.money is not None and price is None:
            raise RunFailed(
                "budget.money cannot be kept: the GPU here has no price in FORGELINE_GPU_PRICES",
                reason="user_error",
            )
        budget = Budget(spec.budget, context.ledger, context.run_id, price=price)
        conductor = Conductor(context, spec, study, budget, halted=context.paths.root / "halted")
        at_once = self._at_once(context, spec, first.resources)
        context.message(f"{spec.search.trials} trials, {at_once} at once")
        folder = context.paths.root / "tune"
        try:
            if not conductor.finished():
                tune_trials(conductor, folder=folder, at_once=at_once, name=spec.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        conductor.check()
        if conductor.gives_way:
            raise GivesWay(conductor.why_halted)
        reporting.leave(context, spec)
        if context.cancel_requested():
            raise RunCancelled("stopped as asked; the trials under way are gone on with when the sweep is resumed")
        return self._result(context, spec, study, maximise, conductor, budget)

    def _study(self, context: RunContext, spec: SweepSpec, journal: Journal, maximise: Sequence[bool]) -> Study:
        known = points.known_values(spec)
        if spec.is_population:
            length = points.trained(points.checked(spec)[0]).length
            return PopulationStudy(spec, journal, maximise=maximise, length=length.value, known=known)
        return Study(
            spec,
            journal,
            maximise=maximise,
            known=known,
            taught=partial(self._taught, context, spec),
            # Asked for by the person who resumed it, and not by each attempt after that.
            again=spec.search.again if context.attempts()[-1].cause == "resume" else (),
        )

    @staticmethod
    def _result(
        context: RunContext,
        spec: SweepSpec,
        study: Study,
        maximise: Sequence[bool],
        conductor: Conductor,
        budget: Budget,
    ) -> dict[str, Any]:
        found = ranked(best(study.trials, spec, maximise=maximise), maximise=maximise)
        halted = conductor.why_halted

        def spent() -> str | None:
            return halted or budget.spent(study.trials)

        if halted is not None:
            context.message(f"{halted}; the sweep ends here", level="warning")
        counts = {str(outcome): 0 for outcome in Outcome}
        for trial in study.trials:
            counts[str(trial.outcome)] += 1
        result: dict[str, Any] = {"trials": counts, "halted": halted, "best": []}
        if not found:
            if counts[Outcome.SUCCEEDED]:
                raise RunFailed(
                    f"{counts[Outcome.SUCCEEDED]} trials succeeded and none has {in_words(spec.require)}; "
                    "`forgeline sweeps show` has them all, and require can be widened for another sweep",
                    reason="user_error",
                )
            if halted is not None:
                raise RunFailed(f"{halted}, and no trial had succeeded by then", reason="user_error")
            raise RunFailed("no trial succeeded; `forgeline sweeps show` says why each failed", reason="user_error")
        for trial in found:
            result["best"].append(
                {"trial": trial.number, "values": dict(trial.values), "objectives": list(trial.objectives or ())}
            )
        if spec.register_ is not None:
            result["registered"] = winners.register_best(context, spec, study.trials, found[0], spent=spent)
        best_file = context.paths.artifacts / reporting.BEST
        return result | {"metrics": dict(found[0].metrics), "best_spec": str(best_file)}

    def table(self, ledger: Ledger, record: RunRecord) -> list[dict[str, Any]]:
        """The trials, best first, one mapping each."""
        return standing(ledger, record).rows()

    @staticmethod
    def _taught(context: RunContext, spec: SweepSpec) -> Sequence[Trial]:
        """The trials of the earlier sweep, where one is named."""
        if spec.search.warm_start is None:
            return ()
        return earlier.trials(context.ledger, spec, own=context.run_id)

    @staticmethod
    def _at_once(context: RunContext, spec: SweepSpec, resources: Resources) -> int:
        """Trials that run at the same time: as many as there is room for, no more than were asked for."""
        each, workers = spec.trial_workers, context.workers
        if workers is None:
            room = sum(places.all_rooms(places.per_worker(resources)).values())
            workers = min(room, spec.worker_counts[-1])
        asked = spec.search.concurrent
        room = max(1, workers // each)
        return room if asked == "auto" else min(asked, room)

    @staticmethod
    def _located(check: Any) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = check()
        except SpecError as error:
            raise SpecError(error.message, key=f"train.{error.key}" if error.key else "train") from error
        return found


def _retraining_is_left(ledger: Ledger, run: RunRecord) -> bool:
    """Whether a sweep that did not succeed has a retraining to go on with."""
    begun = [part for part in ledger.list_runs(parent=run.id) if RETRAINED in part.labels]
    return run.state is not State.SUCCEEDED and any(part.state is not State.SUCCEEDED for part in begun)
