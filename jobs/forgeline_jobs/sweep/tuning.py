"""Ray Tune at work for a sweep: it places the trials' actors; what they are and how they go on, `Conduct` says.

Tune's own state is not used for anything: its snapshots go to a folder that is thrown away.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ray import tune
from ray.tune import Stopper, TuneConfig, Tuner
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from forgeline.errors import RunFailed
from forgeline.ledger.states import Reason
from forgeline_jobs.sweep.surroundings import LOOK_EVERY_S, ray_died
from forgeline_jobs.sweep.trial_run import Order, TrialRun

_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "TUNE_WARN_THRESHOLD_S": str(10**9),
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": str(10**9),
    "TUNE_STATE_REFRESH_PERIOD": "10",
}


class Conduct(Protocol):
    """Who decides."""

    def next(self) -> Order | None:
        """The next trial to place; None while there is none yet, or any more (see `finished`)."""

    def finished(self) -> bool:
        """Whether no further trial will come."""

    def measured(self, result: Mapping[str, Any]) -> bool:
        """Whether the trial goes on."""

    def ended(self, result: Mapping[str, Any]) -> None:
        """The run of a trial has ended."""

    def lost(self, trial: int, message: str) -> None:
        """The actor of a trial has died."""

    def halting(self) -> bool:
        """Whether all trials are to stop, and no more come."""

    def halted(self) -> bool:
        """Whether Tune is to end those that are still there."""


def tune_trials(
    conduct: Conduct,
    *,
    folder: Path,
    at_once: int,
    name: str,
    trainable: type[tune.Trainable] = TrialRun,
    died: Callable[[], bool] = ray_died,
) -> None:
    """Run trials until the conduct says that it is over.

    Args:
        conduct: decides.
        folder: for Tune's own files.
        at_once: trials that run at the same time.
        name: of the sweep.
        trainable: what a trial is; its results have `told`, JSON as `TrialRun` tells it.
        died: whether Ray is gone.

    Raises:
        RunFailed: Ray is gone; Tune would wait for it for ever.
    """
    os.environ.update(_ENVIRONMENT)
    _Told.conducts[name] = conduct
    tuner = Tuner(
        # Tune takes no actor that needs nothing; a byte is as good as that.
        tune.with_resources(trainable, {"memory": 1}),
        tune_config=TuneConfig(
            search_alg=_NextTrial(name),
            scheduler=_AsConducted(name),
            num_samples=-1,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=_folder_of,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder),
            stop=_WhenHalted(name),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    fitting = _Fitting(tuner)
    fitting.start()
    while fitting.is_alive():
        fitting.join(LOOK_EVERY_S)
        if fitting.is_alive() and died():
            # Nobody waits for what Tune makes of it; the process ends soon.
            raise RunFailed("Ray's last node died under the sweep; resume it", reason=Reason.NODE_LOST)
    del _Told.conducts[name]
    if fitting.error is not None:
        raise fitting.error


class _Fitting(threading.Thread):
    """Tune at work."""

    def __init__(self, tuner: Tuner) -> None:
        super().__init__(name="tune", daemon=True)
        self._tuner = tuner
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._tuner.fit()
        except BaseException as error:
            self.error = error


def _folder_of(trial: Any) -> str:
    return f"{trial.config['order']['trial']}-{trial.trial_id}"


class _Told:
    """Base of what Tune is given. Tune copies and pickles it, so that it knows the conduct by a name alone."""

    conducts: ClassVar[dict[str, Conduct]] = {}

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def conduct(self) -> Conduct:
        return self.conducts[self.name]


class _NextTrial(_Told, Searcher):
    def suggest(self, trial_id: str) -> Any:
        conduct = self.conduct
        order = None if conduct.halting() else conduct.next()
        if order is not None:
            return {"order": order.to_dict()}
        return Searcher.FINISHED if conduct.halting() or conduct.finished() else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has told it."""

    def save(self, checkpoint_path: str) -> None:
        """The journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal has it."""


class _AsConducted(_Told, FIFOScheduler):
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return TrialScheduler.CONTINUE if self.conduct.measured(json.loads(result["told"])) else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.conduct.ended(json.loads(result["told"]))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        # Tune has written the whole of it to the driver's log.
        told = Path(trial.error_file).read_text(encoding="utf-8").strip() if trial.error_file else "without a word"
        self.conduct.lost(trial.config["order"]["trial"], f"what drove it failed: {told.splitlines()[-1]}")


class _WhenHalted(_Told, Stopper):
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.conduct.halted()
