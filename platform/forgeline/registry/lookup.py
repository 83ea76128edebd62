"""Finding a version among those of a model, and the bundle of a run or of a folder; what is not there is suggested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from forgeline.errors import BundleError, NotFound
from forgeline.ledger.ledger import Ledger
from forgeline.registry.catalogue import ModelVersion
from forgeline.registry.fetching import BUNDLE, bundle_in
from forgeline.suggestions import did_you_mean


def numbered(name: str, versions: Sequence[ModelVersion], number: int) -> ModelVersion:
    """The version with a number; raises NotFound."""
    for version in versions:
        if version.version == number:
            return version
    known = ", ".join(str(version.version) for version in versions[-12:])
    raise NotFound(f"model {name!r} has no version {number}; known: {known}")


def aliased(name: str, versions: Sequence[ModelVersion], alias: str) -> ModelVersion:
    """The version with an alias; raises NotFound."""
    for version in versions:
        if alias in version.aliases:
            return version
    known = [known for version in versions for known in version.aliases]
    raise NotFound(f"model {name!r} has no alias {alias!r}; {did_you_mean(alias, known)}")


def required(folder: Path | None, reference: str) -> Path:
    """The folder, where there is one; raises BundleError."""
    if folder is None:
        raise BundleError(f"{reference!r} is no bundle: there is no {BUNDLE} in it")
    return folder


def bundle_at(folder: Path, reference: str, versions: Callable[[], Sequence[ModelVersion]]) -> Path:
    """The bundle in a folder.

    Raises:
        NotFound: there is no such folder; the message has the nearest model.
        BundleError: there is no bundle in it.
    """
    if not folder.exists():
        known = [f"models:/{version.model}@{alias}" for version in versions() for alias in version.aliases]
        meant = did_you_mean(f"models:/{reference}", known)
        raise NotFound(f"no model {reference!r}: no such folder; {meant}")
    return required(bundle_in(folder), reference)


def bundle_of_run(
    reference: str, versions: Callable[[], Sequence[ModelVersion]], *, home: Path, ledger_url: str
) -> Path | ModelVersion:
    """The folder of the bundle that a run left here, or else the newest version that it registered.

    Raises:
        NotFound: no such run, or it left nothing.
        UsageError: several runs have ids that start like this.
    """
    folder = home / "runs" / reference / "bundle"
    if (folder / BUNDLE).exists():
        return folder
    unknown = None
    try:
        run_id = Ledger(ledger_url).get(reference).id
    except NotFound as error:
        # Another ledger may have it; a model that it registered is found all the same.
        run_id, unknown = reference, error
    folder = home / "runs" / run_id / "bundle"
    if (folder / BUNDLE).exists():
        return folder
    made = [version for version in versions() if version.run_id == run_id]
    if not made:
        raise unknown or NotFound(f"run {run_id} has no bundle on this machine, and registered no model")
    return max(made, key=lambda version: version.created)
