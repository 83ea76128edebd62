"""From a version to an alias, through the gate: judged, the evidence kept, and moved if no rival moved meanwhile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from forgeline.registry.aliases import check_alias, check_reason
from forgeline.registry.catalogue import ModelVersion
from forgeline.registry.conditions import AnyGate, splits_of
from forgeline.registry.gatekeeping import Candidate, Gatekeeper
from forgeline.registry.gates import GateResult
from forgeline.registry.models import Registry


def promote_through(
    registry: Registry,
    keeper: Gatekeeper,
    name: str,
    version: int,
    alias: str,
    *,
    expect: int | Literal["none"] | None = None,
    why: str = "",
) -> GateResult:
    """Point an alias at a version when the gate lets it pass.

    Args:
        registry: has the version.
        keeper: judges it; what it has measured already is not measured again.
        name: of the registered model.
        version: the candidate, whose bundle the keeper judges.
        alias: that moves.
        expect: the version that it must point at until then; see `Registry.promote`.
        why: kept in the history before the verdict's own words.

    Raises:
        NotFound: no such model or version.
        AliasMoved: the alias does not point where it was expected to; nothing was moved.
        SpecError: the gate cannot be judged.
        BundleTampered: the version has other bytes than those that were judged.
    """
    check_alias(alias)
    check_reason(why)
    target = registry.version(name, number=version)
    while True:
        # Outside the turn: bundles are fetched and asked here, and others move their aliases meanwhile.
        verdict = replace(_kept(registry, keeper, target), asked=why)
        found = registry.promote_if(name, version, alias, partial(_counting, keeper, verdict), expect=expect)
        if found is not None:
            return found


def keeper_of(
    registry: Registry, name: str, version: int, gate: AnyGate, *, data: str | None, key: str = "--gate"
) -> Gatekeeper:
    """The judge of a version that is registered.

    Args:
        registry: has the version.
        name: of the model.
        version: that is judged.
        gate: the conditions.
        data: see `gate_reading.gate_data`.
        key: where the gate stands, for messages.

    Raises:
        NotFound: no such model or version.
        SpecError: the data cannot be read so.
    """
    from forgeline.bundle import Bundle
    from forgeline.registry.gate_reading import gate_data

    target = registry.version(name, number=version)
    bundle = Bundle.load(registry.bundle_of(target))
    samples = gate_data(bundle, data) if splits_of(gate) else None
    return Gatekeeper(
        registry,
        gate,
        Candidate(
            model=name,
            bundle=bundle.folder,
            task=bundle.task,
            metrics=registry.metrics_of_version(target, of_classes=True),
            data=samples,
            key=key,
        ),
    )


def _kept(registry: Registry, keeper: Gatekeeper, target: ModelVersion) -> GateResult:
    """A verdict, with the evidence stored."""
    verdict = keeper.judge()
    evidence = keeper.evidence(target.digest or "")
    return verdict if evidence is None else replace(verdict, evidence=registry.keep_evidence(target, evidence))


def _counting(keeper: Gatekeeper, verdict: GateResult) -> GateResult | None:
    """The verdict, if the rivals are those that it was given against."""
    return verdict if keeper.still_holds() else None
