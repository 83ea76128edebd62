"""The driver's part in what is decided while a deployment serves: it starts the controller, and does what that asks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from forgeline_deploy.control.plan import DOWN, UP, plan_of
from forgeline_deploy.control.reconciling import Reconciler, RetrainingThread, write
from forgeline_deploy.control.recording import RecordingOrder
from forgeline_deploy.control.steering import SteeringOrder
from forgeline_deploy.control.traffic import CHAMPION
from forgeline_deploy.control.wishes import RETRAININGS
from forgeline_deploy.serving.traffic import OneVersion

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext
    from forgeline.ledger.journal import Journal
    from forgeline_deploy.deployment.pinning import Pinned
    from forgeline_deploy.deployment.spec import DeploymentSpec
    from forgeline_deploy.monitor.spec import MonitorConfig
    from forgeline_deploy.serving.stack import Stack

_CLOSES_WITHIN_S = 20.0


def recording(policy: MonitorConfig) -> RecordingOrder:
    """How replicas record by a policy."""
    return RecordingOrder(policy=policy.model_dump(mode="json"))


class Control:
    """Starts and supports the controller of a deployment; of one without rollout and monitor, it only serves.

    Args:
        context: of the run.
        spec: of the deployment.
        stack: what runs; nothing yet.
        journal: of the run.
    """

    def __init__(self, context: RunContext, spec: DeploymentSpec, stack: Stack, journal: Journal) -> None:
        self._context, self._spec, self._stack, self._journal = context, spec, stack, journal
        self._controller: Any = None
        self._reconciler: Reconciler | None = None
        self._retraining: RetrainingThread | None = None
        self._away = False

    def start(self, pinned: Pinned) -> None:
        """Bring up the champion, the controller, and the ingress.

        Raises:
            RunFailed: one of them does not come up.
        """
        from forgeline_deploy.control.controller import ControllerOrder, start_controller

        spec, context = self._spec, self._context
        self._stack.keep([pinned.version])
        if spec.rollout is None and spec.monitor is None:
            self._stack.start(pinned.served(), OneVersion(pinned.version, role=CHAMPION))
            return
        plan = plan_of(self._journal.entries)
        # What an earlier driver had brought up ended with it, or goes now; a challenger is brought up again.
        gone = [] if plan is None else [{"entry": DOWN, "version": each, "at": time.time()} for each in plan.up]
        if gone:
            write(self._journal, *gone)
        self._stack.deploy(pinned.served())
        write(self._journal, {"entry": UP, "version": pinned.version, "at": time.time()})
        order = ControllerOrder(
            owner=self._journal.owner,
            spec=spec.resolved(),
            folder=str(context.paths.root),
            log=str(context.paths.attempt(context.attempt)),
        )
        self._controller = start_controller(order)
        window_s = None if spec.monitor is None else spec.monitor.window_s
        self._stack.open(
            OneVersion(pinned.version, role=CHAMPION),
            steering=SteeringOrder(deployment=context.run_id, window_s=window_s),
        )
        self._reconciler = Reconciler(self._stack, self._journal, context.message)
        self._retraining = self._retrainings(pinned.model)

    def tick(self) -> None:
        """Do what the journal asks for."""
        try:
            if self._reconciler is not None:
                self._reconciler.tick()
            if self._retraining is not None:
                self._retraining.tick()
        except Exception as error:
            # What is served goes on being served, whatever keeps the ledger or Serve's controller away.
            if not self._away:
                text = f"tried again: {type(error).__name__}: {error}"
                self._context.message(text, level="warning")
            self._away = True
        else:
            self._away = False

    def pause(self) -> None:
        """Begin nothing more: the deployment is about to end."""
        if self._reconciler is not None:
            self._reconciler.close()
        if self._retraining is not None:
            self._retraining.close()

    def close(self) -> None:
        """Let the controller judge and store what the replicas gave away in ending."""
        if self._controller is None:
            return
        import ray

        try:
            ray.get(self._controller.close.remote(), timeout=_CLOSES_WITHIN_S)
        except ray.exceptions.RayError as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._context.message(f"the controller did not end in good order: {text}", level="warning")
        ray.kill(self._controller)
        self._controller = None

    def _retrainings(self, model: str) -> RetrainingThread | None:
        from forgeline.ledger.journal import Journal
        from forgeline_deploy.retraining.launcher import CommandLauncher
        from forgeline_deploy.retraining.retraining import Retraining

        context, monitor = self._context, self._spec.monitor
        if monitor is None or monitor.retrain is None:
            return None
        # A journal of its own, since it is read in another thread.
        journal = Journal(context.ledger, self._journal.owner)
        retraining = Retraining(
            monitor.retrain,
            journal,
            CommandLauncher(context.ledger, context.cluster),
            run_id=context.run_id,
            model=model,
            folder=context.paths.root / RETRAININGS,
        )
        return RetrainingThread(retraining, journal, context.paths.root, context.message)
