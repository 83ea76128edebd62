"""Which version a deployment serves: found once, written to the run's journal, and the same when the run is resumed.

An alias may move while a deployment serves. What moves a deployment to another version is its rollout, never the alias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import BundleTampered, UsageError
from forgeline.registry.references import ModelReference, parse
from forgeline_deploy.serving.stack import ServedVersion

if TYPE_CHECKING:
    from forgeline.bundle import Bundle

PINNED = "pinned"
"""`entry` of the journal that names a version."""

_DIGEST_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """A version that was found for a reference.

    Attributes:
        role: that it has in the deployment.
        reference: as the specification has it.
        model: name that clients know it by.
        version: number in the registry, or the start of the digest of a bundle that is in none.
        digest: of the bundle.
        bundle: folder that it was found in.
    """

    role: str
    reference: str
    model: str
    version: str
    digest: str
    bundle: str

    def entry(self) -> dict[str, Any]:
        """As the journal has it."""
        return {"entry": PINNED, **asdict(self)}

    def served(self) -> ServedVersion:
        """As the serving stack takes it."""
        return ServedVersion(version=self.version, bundle=self.bundle, digest=self.digest)


def pin(reference: str, *, role: str, name: str) -> Pinned:
    """The version that a reference names now.

    Args:
        reference: of a model.
        role: that it is to have.
        name: that clients know a model by which is in no registry.

    Raises:
        NotFound, BundleError: as `Bundle.load`.
    """
    from forgeline.bundle import Bundle
    from forgeline.registry.models import open_registry

    parsed = parse(reference)
    if not isinstance(parsed, ModelReference):
        bundle = Bundle.load(reference)
        return _pinned(bundle, role, reference, model=name, version=bundle.digest[:_DIGEST_SHOWN])
    registry = open_registry()
    number = registry.version(parsed.name, alias=parsed.alias, number=parsed.version).version
    # Found by its number: the alias may have moved since.
    bundle = Bundle.load(registry.resolve(f"models:/{parsed.name}/{number}"))
    return _pinned(bundle, role, reference, model=parsed.name, version=str(number))


def _pinned(bundle: Bundle, role: str, reference: str, *, model: str, version: str) -> Pinned:
    return Pinned(
        role=role,
        reference=reference,
        model=model,
        version=version,
        digest=bundle.digest,
        bundle=str(bundle.folder.absolute()),
    )


def pinned_before(entries: Sequence[Mapping[str, Any]], role: str) -> Pinned | None:
    """The version that a journal names last for a role; None where it names none."""
    for entry in reversed(entries):
        if entry.get("entry") == PINNED and entry.get("role") == role:
            return Pinned(**{name: entry[name] for name in Pinned.__dataclass_fields__})
    return None


def found_again(pinned: Pinned) -> Pinned:
    """The same version where its files are by now.

    Raises:
        NotFound: it is not in the registry any more.
        BundleTampered: what is there is another bundle.
    """
    from forgeline.bundle import Bundle

    registered = isinstance(parse(pinned.reference), ModelReference)
    bundle = Bundle.load(f"models:/{pinned.model}/{pinned.version}" if registered else Path(pinned.bundle))
    if bundle.digest != pinned.digest:
        raise BundleTampered(
            f"version {pinned.version} of {pinned.model} is not the one that this deployment serves: sha256 "
            f"{bundle.digest[:12]}…, pinned was {pinned.digest[:12]}…; begin a new deployment"
        )
    return _pinned(bundle, pinned.role, pinned.reference, model=pinned.model, version=pinned.version)


def check_servable(bundle: Bundle) -> None:
    """Refuse what cannot be served.

    Raises:
        UsageError: models of its kind are not served, or it is broken.
    """
    from forgeline_deploy.serving.intake import intake_of

    intake = intake_of(bundle, most_samples=1, most_pixels=1)
    if not intake.tensors():
        raise UsageError(f"the model of {bundle.folder} reads nothing, and cannot be asked")
