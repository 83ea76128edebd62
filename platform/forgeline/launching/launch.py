"""From a checked specification to a launched run, here or on a cluster.

On this host the driver process is started first and the data are checked while it imports Ray and MLflow; only then is
it told what to do. A specification that is refused leaves nothing behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from forgeline.kinds import get_kind
from forgeline.launching.admission import Capacity, machine_memory, visible_gpus
from forgeline.launching.events import Event
from forgeline.launching.local import LocalDriver, LocalLaunch

if TYPE_CHECKING:
    from forgeline.settings import Settings
    from forgeline.spec.loading import LoadedSpec


class Launch(Protocol):
    """A run under way."""

    def events(self) -> Iterator[Event]:
        """The run's events until the last one."""

    def interrupt(self) -> None:
        """Ask for a graceful stop; asked again, do not wait any longer."""

    def finish(self) -> None:
        """Return when nothing of the run is left on this host."""


def check(loaded: LoadedSpec, settings: Settings, *, cluster: str | None, resumed: bool = False) -> Mapping[str, Any]:
    """Check all that can be checked before anything is started or written; returns what the kind found.

    Args:
        loaded: what is to run.
        settings: of this installation.
        cluster: where, or None for this machine.
        resumed: whether a run goes on with it.

    Raises:
        SpecError: what is wrong and which key to change.
    """
    check_capacity(loaded, settings, cluster=cluster)
    kind = get_kind(loaded.spec.kind).kind()
    # Which a kind has where a run that goes on needs less than one that begins.
    checked = getattr(kind, "check_resumed", kind.check) if resumed else kind.check
    return cast("Mapping[str, Any] | None", loaded.located(lambda: checked(loaded.spec))) or {}


def check_capacity(loaded: LoadedSpec, settings: Settings, *, cluster: str | None) -> None:
    """Hold `resources` against this machine; a cluster is asked once the driver is connected to it.

    Raises:
        SpecError: more CPUs, GPUs or memory than there are.
    """
    if cluster is None:
        gpus = visible_gpus() if loaded.spec.resources.gpus_per_worker else 0
        memory = machine_memory() if loaded.spec.resources.memory_per_worker else math.inf
        capacity = Capacity(cpus=settings.available_cpus, gpus=gpus, memory=memory)
        loaded.located(lambda: capacity.check(loaded.spec.resources, loaded.spec.worker_counts))


def launch(loaded: LoadedSpec, settings: Settings, *, cluster: str | None, resume: str | None) -> Launch:
    """Check and start.

    Raises:
        SpecError: the specification or the data are wrong.
        UsageError: FORGELINE_HOME cannot be written, or no cluster answers.
    """
    check_capacity(loaded, settings, cluster=cluster)
    if cluster is not None:
        from forgeline.launching.cluster import ClusterLaunch

        check(loaded, settings, cluster=cluster, resumed=resume is not None)
        threads = max(1, int(loaded.spec.resources.cpus_per_worker))
        return ClusterLaunch(cluster, spec=loaded.text, settings=settings, resume=resume, threads=threads)
    driver = LocalDriver()
    try:
        check(loaded, settings, cluster=None, resumed=resume is not None)
        settings.ensure_home()
        return LocalLaunch(driver, spec=loaded.text, settings=settings, resume=resume)
    except BaseException:
        driver.abandon()
        raise
