"""A deployment on Ray: one Serve application for each version's replicas, and the ingress before them.

Serve's controller keeps the replicas alive, and Ray the ingress.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import ForgelineError, RunFailed
from forgeline_deploy.serving.ingress import Ingress, IngressOrder, LaneOrder
from forgeline_deploy.serving.recorder import RecorderFactory
from forgeline_deploy.serving.replica import Replica, ReplicaOrder
from forgeline_deploy.serving.spec import ServeConfig
from forgeline_deploy.serving.steering import SteeringFactory
from forgeline_deploy.serving.traffic import Traffic

if TYPE_CHECKING:
    from forgeline.spec.envelope import Resources

NAMESPACE = "forgeline"
POLL_S = 0.1
_UP_WITHIN_S = 900.0
"""Replicas that are not up by then, for want of a place say, are given up."""
_HEALTH_S = 2.0
_HEALTH_TIMEOUT_S = 30.0
_REPLICA_STOPS_S = 10.0
_CALL_S = 30.0
_TOLD_EVERY_S = 1.0
_AVERAGED_OVER_S = 2.0
"""The handle in the ingress tells Serve how many batches replicas have; more than one each, and there are too few."""
_QUIET: dict[str, Any] = {"enable_access_log": False, "log_level": "WARNING"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedVersion:
    """A version of the model that a deployment pinned.

    Attributes:
        version: number in the registry, or the start of the digest of a bundle that is in none.
        bundle: folder.
        digest: of the bundle.
    """

    version: str
    bundle: str
    digest: str

    @property
    def application(self) -> str:
        """Name of the Serve application with its replicas."""
        return f"model-{self.version}"


class Stack:
    """What of a deployment runs on Serve. Ray is up, and is not stopped here.

    Args:
        deployment: id of the run.
        model: name that clients know the model by.
        config: its port is not 0.
        resources: of each replica.
        token: that clients must show.
        log: folder for the output of its processes.
        stop: whether waiting for something should end.
        recorder: makes what records in the replicas.
    """

    def __init__(
        self,
        *,
        deployment: str,
        model: str,
        config: ServeConfig,
        resources: Resources,
        token: str | None = None,
        log: str | None = None,
        stop: Callable[[], bool] = lambda: False,
        recorder: RecorderFactory | None = None,
    ) -> None:
        self._deployment = deployment
        self._model = model
        self._config = config
        self._resources = resources
        self._token = None if token is None else hashlib.sha256(token.encode()).digest()
        self._log = log
        self._stop = stop
        self._recorder = recorder
        # A cluster's Serve may have applications of others.
        self._prefix = _prefix(deployment)
        self._ingress: Any = None

    @property
    def url(self) -> str:
        """Where clients on this host find it."""
        host = self._config.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"http://{shown}:{self._config.port}"

    def start(self, first: ServedVersion, traffic: Traffic) -> None:
        """Bring a version up, and then the ingress before it.

        Raises:
            RunFailed: one of them does not come up.
        """
        self.deploy(first)
        self.open(traffic, lanes=(self._lane(first),))

    def deploy(self, version: ServedVersion) -> None:
        """Bring a version's replicas up; no request reaches them before somebody opens a lane to them.

        Raises:
            RunFailed: they do not come up; what is there is as before.
        """
        from ray import serve

        serve.start(proxy_location="Disabled", logging_config=_QUIET)
        self._deploy_version(version)

    def keep(self, versions: Collection[str]) -> None:
        """Take all other versions' replicas down, by and by; their lanes are closed.

        An earlier driver's are among them: Serve and its replicas outlive a driver on a Ray that does.
        """
        from ray import serve

        kept = {application_name(self._deployment, version) for version in versions}
        for name, application in self._applications().items():
            if name not in kept and application.status != "DELETING":
                serve.delete(name, _blocking=False)

    def open(
        self, traffic: Traffic, *, lanes: tuple[LaneOrder, ...] = (), steering: SteeringFactory | None = None
    ) -> None:
        """Bring the ingress up.

        Raises:
            RunFailed: it does not come up.
        """
        import ray

        order = IngressOrder(
            model=self._model,
            config=self._config,
            token_sha256=self._token,
            lanes=lanes,
            traffic=traffic,
            steering=steering,
            log=self._log,
        )
        self._ingress = (
            ray.remote(Ingress)
            .options(name=ingress_name(self._deployment), namespace=NAMESPACE, num_cpus=0, max_restarts=-1)
            .remote(order)
        )
        self._wait_for_ingress()

    def ask_ingress(self, method: str, *arguments: Any, within_s: float = _CALL_S) -> Any:
        """Call a method of the ingress.

        Raises:
            ForgelineError: it does not answer.
        """
        import ray

        if self._ingress is None:
            raise ForgelineError("the ingress is not up")
        try:
            return ray.get(getattr(self._ingress, method).remote(*arguments), timeout=within_s)
        except ray.exceptions.RayError as error:
            raise ForgelineError(f"the ingress did not do {method}: {type(error).__name__}: {error}") from error

    def status(self) -> Mapping[str, Any]:
        """Serve application -> its state, a sentence if something is wrong, and running replicas."""
        from ray.serve._private.common import ReplicaState

        told = {}
        for name, application in self._applications().items():
            running = sum(one.replica_states.get(ReplicaState.RUNNING, 0) for one in application.deployments.values())
            wrong = [one.message for one in application.deployments.values() if one.message]
            told[name.removeprefix(self._prefix)] = {
                "state": str(application.status.value),
                "message": "\n".join(wrong) or application.message,
                "replicas": int(running),
            }
        return told

    def drain(self, within_s: float) -> bool:
        """Answer what was asked, take nothing more, and take all down; False where that took too long."""
        import ray
        from ray import serve

        drained = False
        try:
            if self._ingress is not None:
                drained = bool(self.ask_ingress("drain", within_s, within_s=within_s + _CALL_S))
        finally:
            if self._ingress is not None:
                ray.kill(self._ingress)
                self._ingress = None
            # Each replica ends in good order: what it has recorded is given away.
            self.keep(())
            for name in self._applications():
                serve.delete(name)
        return drained

    def _applications(self) -> dict[str, Any]:
        """The Serve applications of this deployment, by name; those of others are left alone."""
        from ray import serve

        return {name: one for name, one in serve.status().applications.items() if name.startswith(self._prefix)}

    def _lane(self, version: ServedVersion) -> LaneOrder:
        return LaneOrder(
            version=version.version,
            application=application_name(self._deployment, version.version),
            bundle=version.bundle,
            digest=version.digest,
        )

    def _deploy_version(self, version: ServedVersion) -> None:
        from ray import serve

        config, resources = self._config, self._resources
        order = ReplicaOrder(
            deployment=self._deployment,
            version=version.version,
            bundle=version.bundle,
            digest=version.digest,
            max_batch=config.max_batch,
            max_pixels=config.max_pixels,
            device="cuda" if resources.gpus_per_worker else "cpu",
            log=self._log,
            recorder=self._recorder,
        )
        needs: dict[str, Any] = {"num_cpus": resources.cpus_per_worker, "num_gpus": resources.gpus_per_worker}
        if resources.memory_per_worker is not None:
            needs["memory"] = resources.memory_per_worker.bytes
        deployment = cast("Any", serve.deployment)(Replica, name="Model").options(
            **_scaling(config),
            ray_actor_options=needs,
            max_ongoing_requests=16,
            health_check_period_s=_HEALTH_S,
            health_check_timeout_s=_HEALTH_TIMEOUT_S,
            graceful_shutdown_timeout_s=_REPLICA_STOPS_S,
            graceful_shutdown_wait_loop_s=0.1,
            logging_config=_QUIET,
        )
        self._bring_up(deployment.bind(order), version.application)

    def _bring_up(self, application: Any, name: str) -> None:
        from ray import serve
        from ray.serve.api import RunTarget

        serve.run_many(
            [RunTarget(application, name=self._prefix + name, route_prefix=None)], wait_for_applications_running=False
        )
        until = time.monotonic() + _UP_WITHIN_S
        while True:
            told = self.status().get(name, {"state": "DEPLOYING", "message": ""})
            if told["state"] == "RUNNING":
                return
            if told["state"] in ("DEPLOY_FAILED", "UNHEALTHY"):
                serve.delete(self._prefix + name, _blocking=False)
                raise RunFailed(f"{name} does not come up: {_last_line(told['message'])}", reason="user_error")
            if self._stop():
                raise RunFailed(f"stopped while {name} came up", reason="cancelled")
            if time.monotonic() >= until:
                serve.delete(self._prefix + name, _blocking=False)
                reason = _last_line(told["message"])
                raise RunFailed(f"{name} is not up within {_UP_WITHIN_S:g} s: {reason}", reason="user_error")
            time.sleep(POLL_S)

    def _wait_for_ingress(self) -> None:
        import ray

        assert self._ingress is not None
        until = time.monotonic() + _UP_WITHIN_S
        told = {"ready": False}
        while not told["ready"]:
            answer = self._ingress.status.remote()
            while not ray.wait([answer], timeout=POLL_S)[0]:
                if self._stop():
                    raise RunFailed("stopped while the ingress came up", reason="cancelled")
            try:
                told = ray.get(answer)
            except ray.exceptions.RayError as error:
                reason = _last_line(str(error))
                raise RunFailed(f"the ingress does not come up: {reason}", reason="user_error") from error
            if not told["ready"] and time.monotonic() >= until:
                raise RunFailed(f"the ingress is not ready within {_UP_WITHIN_S:g} s", reason="user_error")


def _scaling(config: ServeConfig) -> dict[str, Any]:
    """How many replicas Serve keeps."""
    if config.most_replicas == config.fewest_replicas:
        return {"num_replicas": config.fewest_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": config.fewest_replicas,
            "max_replicas": config.most_replicas,
            # A replica that always has one batch and the next one waiting is busy: there is work for another.
            "target_ongoing_requests": 1,
            "metrics_interval_s": _TOLD_EVERY_S,
            "look_back_period_s": _AVERAGED_OVER_S,
            "upscale_delay_s": config.scale_up_after.total_seconds(),
            "downscale_delay_s": config.scale_down_after.total_seconds(),
        }
    }


def application_name(deployment: str, version: str) -> str:
    """Name of the Serve application that has a version's replicas."""
    return f"{_prefix(deployment)}model-{version}"


def _prefix(deployment: str) -> str:
    return f"{deployment[:12]}-"


def ingress_name(deployment: str) -> str:
    """Name of the actor of a deployment's ingress, in the namespace `NAMESPACE`."""
    return f"ingress-{deployment}"


def _last_line(message: str) -> str:
    """Of a traceback, what was raised."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    named = [line for line in lines if "Error:" in line or "Tampered:" in line or "Exception:" in line]
    return (named or lines or ["no reason was told"])[-1]
