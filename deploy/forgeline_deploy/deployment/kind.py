"""The kind `deployment`: checked in the command's process, supervised by the run's driver, served by Ray Serve."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import ForgelineError, RunCancelled, RunFailed, SpecError
from forgeline.ledger.journal import Journal
from forgeline_deploy.alerts.spec import check_variables
from forgeline_deploy.control.reconciling import write
from forgeline_deploy.control.traffic import CHAMPION
from forgeline_deploy.deployment.control import Control, recording
from forgeline_deploy.deployment.pinning import Pinned, check_servable, found_again, pin, pinned_before
from forgeline_deploy.deployment.spec import DeploymentSpec
from forgeline_deploy.retraining.spec import check_retraining
from forgeline_deploy.serving.ingress import listen
from forgeline_deploy.serving.spec import ServeConfig

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext
    from forgeline_deploy.serving.stack import Stack

SERVING, DRAINED = "serving", "drained"
"""`entry` of the journal: the address, and how the requests ended."""

_LOOK_S = 1.0
_POLL_S = 0.1
_MOST_LOOKS_LOST = 30
_KILL_MARGIN_S = 3.0


class DeploymentKind:
    """Serves models."""

    def check(self, spec: DeploymentSpec) -> Mapping[str, Any]:
        """Find the model, and see that it can be served at this address.

        Raises:
            NotFound: no such model.
            SpecError: the port is taken, a token is missing, or the model is none that is served.
        """
        from forgeline.bundle import Bundle

        pinned = pin(spec.model, role=CHAMPION, name=spec.name)
        try:
            bundle = Bundle.load(pinned.bundle)
            check_servable(bundle)
        except ForgelineError as error:
            raise SpecError(str(error), key="model") from error
        if spec.rollout is not None and bundle.task == "language_modelling":
            raise SpecError(
                "a model that writes text cannot be rolled out; its answers are not compared", key="rollout"
            )
        self._check_parts(spec, pinned.model)
        self._check_address(spec.serve)
        return {"model": pinned.model, "version": pinned.version, "digest": pinned.digest}

    def check_resumed(self, spec: DeploymentSpec) -> None:
        """The version is in the run's journal: the alias may name another one by now, or none."""
        if spec.monitor is not None:
            check_variables(spec.monitor.alert, key="monitor.alert")
        self._check_address(spec.serve)

    @staticmethod
    def _check_parts(spec: DeploymentSpec, model: str) -> None:
        if spec.monitor is None:
            return
        check_variables(spec.monitor.alert, key="monitor.alert")
        if spec.monitor.retrain is not None:
            try:
                check_retraining(spec.monitor.retrain, model)
            except SpecError as error:
                raise SpecError(error.message, key=f"monitor.{error.key}", others=error.others) from error

    @staticmethod
    def _check_address(serve: ServeConfig) -> None:
        serve.read_token()
        try:
            listen(serve.host, serve.port).close()
        except OSError as error:
            reason = error.strerror or str(error)
            key = "serve.host" if isinstance(error.errno, int) and error.errno in (-2, 99) else "serve.port"
            raise SpecError(
                f"cannot listen on {serve.host}:{serve.port}: {reason}; choose another port (0 takes any free one) or "
                "another host",
                key=key,
            ) from error

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Serve until the run is stopped.

        Raises:
            RunCancelled: it was stopped, and every request was answered.
            RunFailed: the model does not come up, or Ray is gone.
        """
        from forgeline_deploy.serving.stack import Stack

        spec = cast(DeploymentSpec, context.spec)
        journal = Journal(context.ledger, context.ledger.get(context.run_id))
        pinned = self._pinned(context, spec, journal)
        versions = 1 if spec.rollout is None else 2
        config = _with_port(_within(spec.serve, None if context.workers is None else context.workers // versions))
        if context.resume_from is not None:
            context.tell_attempt("resume")
        context.describe_attempt(workers=versions * config.most_replicas)
        stack = Stack(
            deployment=context.run_id,
            model=pinned.model,
            config=config,
            resources=spec.resources,
            token=config.read_token(),
            log=str(context.paths.attempt(context.attempt)),
            stop=context.cancel_requested,
            recorder=None if spec.monitor is None else recording(spec.monitor.policy),
        )
        control = Control(context, spec, stack, journal)
        try:
            control.start(pinned)
        except Exception as error:
            self._take_down(context, stack)
            if isinstance(error, RunFailed) and context.cancel_requested():
                raise RunCancelled("stopped while it came up") from None
            raise
        write(journal, {"entry": SERVING, "url": stack.url, "version": pinned.version, "at": time.time()})
        context.emit(SERVING, url=stack.url, model=pinned.model, version=pinned.version)
        context.message(f"serves {pinned.model} version {pinned.version} at {stack.url}; its documentation: /docs")
        try:
            Supervision(context, stack, control).until_stopped()
        finally:
            control.pause()
            drained = self._drain(context, stack)
            control.close()
        write(journal, {"entry": DRAINED, "well": drained, "at": time.time()})
        raise RunCancelled("stopped as asked; " + ("every request was answered" if drained else "requests were left"))

    @staticmethod
    def _pinned(context: RunContext, spec: DeploymentSpec, journal: Journal) -> Pinned:
        before = pinned_before(journal.entries, CHAMPION)
        if before is not None:
            again = found_again(before)
            if again != before:
                journal.append(again.entry())
            return again
        pinned = pin(spec.model, role=CHAMPION, name=spec.name)
        journal.append(pinned.entry())
        return pinned

    @staticmethod
    def _take_down(context: RunContext, stack: Stack) -> None:
        """Leave nothing of what did not come up; why it did not is told by whoever asks for this."""
        try:
            stack.keep(())
        except Exception as error:
            context.message(f"what came up is not taken down: {type(error).__name__}: {error}", level="warning")

    @staticmethod
    def _drain(context: RunContext, stack: Stack) -> bool:
        """Answer what is on its way; the kill at the end of the grace must not find it unanswered."""
        context.message("takes no further request, and answers those that it has")
        try:
            return stack.drain(max(1.0, context.grace_s - _KILL_MARGIN_S))
        except Exception as error:
            # Ray may be gone; why it ends is told by whoever ends it.
            context.message(f"{type(error).__name__}: {error}", level="warning")
            return False


class Supervision:
    """What the driver does while a deployment serves: it tells what changes, and notices when it is to stop."""

    def __init__(self, context: RunContext, stack: Stack, control: Control) -> None:
        self._context = context
        self._stack = stack
        self._control = control
        self._told: dict[str, tuple[str, int]] = {}
        self._lost = 0

    def until_stopped(self) -> None:
        """Return when the run is asked to stop.

        Raises:
            RunFailed: Serve does not answer any more.
        """
        look_at = 0.0
        while not self._context.cancel_requested():
            if time.monotonic() >= look_at:
                self.look()
                look_at = time.monotonic() + _LOOK_S
            time.sleep(_POLL_S)

    def look(self) -> None:
        """Tell what has changed since the last look."""
        from forgeline.launching.local_ray import raylet_died

        if raylet_died():
            raise RunFailed("Ray on this host died", reason="node_lost")
        try:
            found = self._stack.status()
        except Exception as error:
            # The controller is started again when it dies; requests are answered meanwhile.
            self._lost += 1
            if self._lost >= _MOST_LOOKS_LOST:
                raise RunFailed(f"Ray Serve does not answer: {error}", reason="node_lost") from error
            return
        self._lost = 0
        self._context.progressed()
        self._control.tick()
        for name, told in found.items():
            now = (told["state"], told["replicas"])
            if self._told.get(name) != now:
                self._tell(name, told, first=name not in self._told)
                self._told[name] = now

    def _tell(self, name: str, told: Mapping[str, Any], *, first: bool) -> None:
        self._context.emit("deployment", application=name, **told)
        healthy = told["state"] == "RUNNING"
        if not first or not healthy:
            count = told["replicas"]
            reason = f": {told['message']}" if told["message"] and not healthy else ""
            level = "info" if healthy else "warning"
            text = f"{name}: {count} process{'' if count == 1 else 'es'} up, {told['state'].lower()}{reason}"
            self._context.message(text, level=level)


def _within(config: ServeConfig, workers: int | None) -> ServeConfig:
    """The same with no more replicas than the run has room for."""
    if workers is None or config.most_replicas <= workers:
        return config
    most = max(workers, config.fewest_replicas)
    text = str(most) if most == config.fewest_replicas else f"{config.fewest_replicas}..{most}"
    return ServeConfig.model_validate(config.model_dump() | {"replicas": text if ".." in text else most})


def _with_port(config: ServeConfig) -> ServeConfig:
    """The same with a port that stays when the ingress is started again."""
    if config.port:
        return config
    with listen(config.host, 0) as bound:
        return config.model_copy(update={"port": bound.getsockname()[1]})
