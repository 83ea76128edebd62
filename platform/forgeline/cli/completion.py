"""What the shell offers when Tab is pressed: names from the plug-ins, the ledger and the registry.

A completion must be quick and may never fail, so nothing heavy is imported, no server is asked, and where nothing can
be read nothing is offered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from forgeline import plugins
from forgeline.cli.render import short_id

_RUNS = 100


def states(incomplete: str) -> list[str]:
    """States of a run."""
    from forgeline.ledger.states import State

    return _starting(incomplete, State)


def kinds(incomplete: str) -> list[str]:
    """Kinds of jobs."""
    return _starting(incomplete, plugins.names(plugins.KINDS))


def architectures(incomplete: str) -> list[str]:
    """Families of architectures; the thousand names inside them would bury these."""
    return _starting(incomplete, plugins.names(plugins.ARCHITECTURES))


def data(incomplete: str) -> list[str]:
    """Data sources."""
    return _starting(incomplete, plugins.names(plugins.DATA))


def runs(incomplete: str) -> list[str]:
    """Names and ids of the newest runs."""
    return _starting(incomplete, _runs(names_only=False))


def run_names(incomplete: str) -> list[str]:
    """Names of the newest runs."""
    return _starting(incomplete, _runs(names_only=True))


def run_names_of(kind: str, incomplete: str) -> list[str]:
    """Names of the newest runs of one kind."""
    return _starting(incomplete, _names_of(kind))


def models(incomplete: str) -> list[str]:
    """Registered models."""
    return _starting(incomplete, _models())


def model_references(incomplete: str) -> list[str]:
    """Registered models as `predict` takes them, by alias."""
    return _starting(incomplete, _references())


def _starting(incomplete: str, known: Iterable[str]) -> list[str]:
    with contextlib.suppress(Exception):
        return [str(name) for name in dict.fromkeys(known) if name.startswith(incomplete)]
    return []


def _runs(*, names_only: bool) -> Iterator[str]:
    from forgeline.ledger.ledger import Ledger
    from forgeline.settings import settings

    environment = settings()
    if environment.ledger_url or (environment.home_folder / "ledger.db").exists():
        ledger = Ledger(environment.resolved_ledger_url)
        yield from ledger.known("name", limit=_RUNS)
        if not names_only:
            yield from map(short_id, ledger.known("id", limit=_RUNS))


def _names_of(kind: str) -> Iterator[str]:
    from forgeline.ledger.ledger import Ledger
    from forgeline.settings import settings

    environment = settings()
    if environment.ledger_url or (environment.home_folder / "ledger.db").exists():
        ledger = Ledger(environment.resolved_ledger_url)
        yield from (run.name for run in ledger.list_runs(kind=kind, limit=_RUNS, elsewhere=False))


def _models() -> list[str]:
    from forgeline.registry.models import open_registry

    return list(open_registry().list_models()) if _is_local() else []


def _references() -> Iterator[str]:
    from forgeline.registry.models import open_registry

    if _is_local():
        for name, versions in open_registry().list_models().items():
            yield from (f"models:/{name}@{alias}" for version in versions for alias in version.aliases)


def _is_local() -> bool:
    """Whether the registry is a file that is there."""
    from forgeline.settings import settings

    environment = settings()
    return not environment.tracking_uri and (environment.home_folder / "mlflow.db").exists()
