"""The registry of models: MLflow's, with the history of its aliases kept in the ledger.

MLflow knows where an alias points; it does not know since when, by whom and why, nor what it pointed to before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from forgeline.errors import BundleError, NotFound, UsageError
from forgeline.ledger.alias_history import AliasHistory, pointing_at
from forgeline.ledger.records import AliasMove
from forgeline.ledger.rows import plain
from forgeline.registry import evidence as evidences
from forgeline.registry.alias_turn import AliasTurn, aliases_of
from forgeline.registry.aliases import check_alias, check_reason, trail
from forgeline.registry.catalogue import (
    DIGEST_TAG,
    EVIDENCE_TAG,
    METRICS_TAG,
    ModelVersion,
    read_created,
    read_versions,
)
from forgeline.registry.evidence import MODEL_FOLDER, Evidence
from forgeline.registry.fetching import BUNDLE, bundle_in, digest_of, local_copy
from forgeline.registry.gates import GateResult
from forgeline.registry.lookup import aliased, bundle_at, bundle_of_run, numbered, required
from forgeline.registry.references import ModelReference, RunReference, parse
from forgeline.suggestions import did_you_mean
from forgeline.tracking.tracker import Tracker

CHAMPION = "champion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What a version was made from.

    Attributes:
        data_fingerprint: sha256 over the data.
        spec: the resolved specification as YAML; its sha256 is kept.
    """

    data_fingerprint: str
    spec: str


def open_registry() -> Registry:
    """The registry of this installation's settings.

    Raises:
        UsageError: FORGELINE_HOME cannot be written.
    """
    from forgeline.settings import settings

    environment = settings()
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root)
    return Registry(tracker, environment.resolved_ledger_url, home=environment.ensure_home())


def resolve(reference: str | Path) -> Path:
    """The local folder of a bundle, by the settings of this installation; see `Registry.resolve`."""
    return open_registry().resolve(reference)


class Registry:
    """Registered models, their versions and aliases.

    Args:
        tracker: the MLflow store that has the registry.
        ledger_url: SQLAlchemy URL of the ledger, for the history of aliases.
        home: where bundles of runs are, and where copies of remote ones are kept.

    Raises:
        TrackingError: every method raises it when the store does not answer, LedgerError when the ledger does not.
    """

    def __init__(self, tracker: Tracker, ledger_url: str, *, home: Path) -> None:
        self._tracker = tracker
        self._ledger_url = ledger_url
        self._home = home

    def register(
        self,
        *,
        name: str,
        mlflow_model_folder: Path,
        run_id: str,
        metrics: Mapping[str, float],
        lineage: Lineage,
        tags: Mapping[str, str] | None = None,
    ) -> int:
        """Store a model's files with its run and make them the next version of `name`; it gets no alias.

        Args:
            name: registered model, created when there is none of this name.
            mlflow_model_folder: has the file `MLmodel` and, in it or below, the bundle.
            run_id: the run that made it.
            metrics: what gates and people compare versions by.
            lineage: what it was made from.
            tags: more to say about the version.

        Raises:
            BundleError: there is no bundle in the folder.
        """
        bundle = bundle_in(mlflow_model_folder)
        if bundle is None:
            raise BundleError(f"{mlflow_model_folder} cannot be registered: there is no {BUNDLE} in it")
        digest = digest_of(bundle)
        all_tags = {
            **(tags or {}),
            "forgeline.run_id": run_id,
            "forgeline.data_fingerprint": lineage.data_fingerprint,
            "forgeline.spec_digest": hashlib.sha256(lineage.spec.encode()).hexdigest(),
            DIGEST_TAG: digest,
            # A thousand classes would not fit into a tag; the bundle has their metrics.
            METRICS_TAG: json.dumps(plain({key: value for key, value in metrics.items() if "[" not in key})),
        }
        # A run that is resumed may register again: what it registered before must stay.
        folder = f"{MODEL_FOLDER}/{digest[:16]}"
        self._tracker.log_artifacts(run_id, mlflow_model_folder, folder)
        source = f"{self._tracker.get(run_id).artifact_uri}/{folder}"
        client = self._tracker.client
        with self._tracker.guarded():
            self._ensure_model(name)
            version = client.create_model_version(name, source=source, run_id=run_id, tags=all_tags)
        return int(version.version)

    def promote(
        self,
        name: str,
        version: int,
        alias: str = CHAMPION,
        *,
        why: str = "",
        expect: int | Literal["none"] | None = None,
    ) -> AliasMove:
        """Point an alias at a version.

        Args:
            why: kept in the history.
            expect: the version that it must point at until then, `"none"` when no version may have it; None: any.

        Raises:
            NotFound: no such model or version.
            AliasMoved: the alias does not point where it was expected to; nothing was moved.
            BundleTampered: the version was judged by a gate, and its bundle or the evidence was altered since.
            UsageError: the alias points there already, no alias may have this name, or `why` is no text.
            ApprovalNeeded: it takes more than one person to move this alias: it is proposed, and nothing was moved.
        """
        check_alias(alias)
        check_reason(why)
        self.check_bytes(self.version(name, number=version))
        with self.turn(name) as turn:
            target = numbered(name, turn.versions, version)
            if alias in target.aliases and expect in (None, version):
                raise UsageError(f"{alias} of {name!r} is version {version} already")
            return turn.move_or_propose(alias, version, expect=expect, why=why or "promoted by hand")

    def promote_if(
        self,
        name: str,
        version: int,
        alias: str,
        judge: Callable[[], GateResult | None],
        *,
        expect: int | Literal["none"] | None = None,
    ) -> GateResult | None:
        """Point an alias at a version when it passes; from the verdict to the move no alias of the model moves.

        Args:
            judge: holds the version against what the aliases point at now; quickly, for others wait. None where it
                cannot tell without more work: then nothing moves.
            expect: as of `promote`.

        Raises:
            NotFound: no such model or version.
            AliasMoved: the alias does not point where it was expected to; nothing was moved.
        """
        check_alias(alias)
        with self.turn(name) as turn:
            verdict = judge()
            if verdict is not None and verdict.passed:
                target = numbered(name, turn.versions, version).version
                turn.move_or_propose(alias, target, expect=expect, why=verdict.why)
        return verdict

    def rollback(self, name: str, alias: str = CHAMPION, *, why: str = "") -> AliasMove:
        """Point an alias at the version that it pointed to before; again, and it goes one further back.

        Raises:
            NotFound: no such model, or it has no such alias.
            UsageError: it never pointed elsewhere, or `why` is no text.
        """
        check_reason(why)
        with self.turn(name) as turn:
            current = aliased(name, turn.versions, alias).version
            left = {version.version for version in turn.versions} - {current}
            earlier = [number for number in trail(turn.moves(alias), current)[:-1] if number in left]
            if not earlier:
                raise UsageError(
                    f"{alias} of {name!r} is version {current} and was no other before; "
                    "`forgeline models promote` takes any version"
                )
            return turn.move(alias, earlier[-1], since=current, why=why or "rolled back", rollback=True)

    def list_models(self) -> dict[str, list[ModelVersion]]:
        """All versions, by model name."""
        models: dict[str, list[ModelVersion]] = {}
        for version in read_versions(self._tracker):
            models.setdefault(version.model, []).append(version)
        return models

    def show(self, name: str) -> list[ModelVersion]:
        """A model's versions, first to last.

        Raises:
            NotFound: no such model.
        """
        versions = read_versions(self._tracker, name)
        if not versions:
            raise NotFound(f"no model {name!r}; {did_you_mean(name, self.list_models())}")
        return versions

    def version(self, name: str, *, alias: str | None = None, number: int | None = None) -> ModelVersion:
        """One version, by alias or number; the latest without both.

        Raises:
            NotFound: no such model, version or alias; the message has the nearest one.
        """
        versions = self.show(name)
        if alias is not None:
            return aliased(name, versions, alias)
        return versions[-1] if number is None else numbered(name, versions, number)

    def metrics_of(self, name: str, alias: str = CHAMPION, *, of_classes: bool = False) -> Mapping[str, float] | None:
        """Metrics of the version that has the alias; None when none has, or there is no such model yet.

        Args:
            of_classes: those of single classes too, which are read from its bundle.

        Raises:
            BundleError: its bundle is not there, or another one.
        """
        holder = self.holder(name, alias)
        return None if holder is None else self.metrics_of_version(holder, of_classes=of_classes)

    def metrics_of_version(self, version: ModelVersion, *, of_classes: bool = False) -> Mapping[str, float]:
        """As `metrics_of`, of a version."""
        if not of_classes:
            return version.metrics
        manifest = json.loads((self.bundle_of(version) / BUNDLE).read_bytes())
        return {**manifest["metrics"], **version.metrics}

    def holder(self, name: str, alias: str) -> ModelVersion | None:
        """The version that has an alias; None when none has, or there is no such model yet."""
        found = (version for version in read_versions(self._tracker, name) if alias in version.aliases)
        return next(found, None)

    def keep_evidence(self, version: ModelVersion, evidence: Evidence) -> str:
        """Store what a gate saw with a version, in place of what one saw before; returns its sha256.

        Raises:
            BundleTampered: it is of another bundle.
            BundleError: the version was not registered by a run.
        """
        return evidences.keep(evidence, version, self._tracker)

    def evidence(self, version: ModelVersion) -> Evidence | None:
        """What the gate saw that judged a version last; None where none did.

        Raises:
            BundleTampered: it was altered, or is of another bundle.
            BundleError: it is not there.
        """
        return evidences.read(version, self._tracker, cache=self._home / "cache" / "evidence")

    def history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Moves of a model's aliases, first to last.

        A move that a process which died left half done is judged, and one that was made in MLflow is written down.
        """
        versions = read_versions(self._tracker, name)
        if not versions:
            self._forget_intended(name)
            return self.aliases.moves(name, alias)  # the model is gone from MLflow, and its history stays as it is
        created = read_created(self._tracker, name)
        begun = self.aliases.intended(name, created=created)
        if begun or self.aliases.heads(name, created=created) != aliases_of(versions):
            with self.turn(name):
                pass
        return self.aliases.moves(name, alias, created=created)

    def pointed_at(self, name: str, moment: datetime, alias: str | None = None) -> list[AliasMove]:
        """Where a model's aliases pointed at a moment: of each the move by which it did, by name of the alias.

        Args:
            moment: with its time zone.
            alias: this one only.

        Raises:
            UsageError: the moment is still to come, or has no time zone.
        """
        if moment.tzinfo is None:
            raise UsageError(f"moment: got {moment.isoformat()}; a time zone is needed")
        if moment > datetime.now(UTC):
            raise UsageError(f"{moment.isoformat()} is still to come: nobody knows what aliases will point at")
        return pointing_at(self.history(name, alias), moment)

    def resolve(self, reference: str | Path) -> Path:
        """The local folder of the bundle that a reference names; remote files are copied once.

        Args:
            reference: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/NAME/latest`, `runs:/RUN` (an id, the
                start of one, or a name) or a path.

        Raises:
            NotFound: no such model, version, alias, run or folder.
            BundleError: what is there is no bundle, or not the one that was registered.
            UsageError: several runs have ids that start like this.
        """
        parsed = parse(str(reference))
        if isinstance(parsed, ModelReference):
            return self.bundle_of(self.version(parsed.name, alias=parsed.alias, number=parsed.version))
        versions = partial(read_versions, self._tracker)
        if isinstance(parsed, RunReference):
            found = bundle_of_run(parsed.run_id, versions, home=self._home, ledger_url=self._ledger_url)
            return found if isinstance(found, Path) else self.bundle_of(found)
        return bundle_at(Path(reference), str(reference), versions)

    @cached_property
    def aliases(self) -> AliasHistory:
        """The history of the aliases of all models."""
        return AliasHistory(self._ledger_url)

    def _ensure_model(self, name: str) -> None:
        try:
            self._tracker.client.create_registered_model(name)
        except Exception as error:
            if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise

    @contextmanager
    def turn(self, name: str) -> Iterator[AliasTurn]:
        """Hold the right to move a model's aliases, which one process has at a time.

        Raises:
            NotFound: no such model.
        """
        self.show(name)
        # MLflow is imported and opened before: others wait while the turn is held.
        _ = self._tracker.client
        with self.aliases.turn(name) as writer:
            yield AliasTurn(
                name,
                self.show(name),
                created=read_created(self._tracker, name),
                tracker=self._tracker,
                history=self.aliases,
                writer=writer,
            )

    def _forget_intended(self, name: str) -> None:
        """Of a model that is gone nobody can tell whether its alias was moved; what names its creation stays."""
        # It may be a move in another store, whose model of this name is there.
        if any(not begun.model_created for begun in self.aliases.intended(name)):
            with self.aliases.turn(name) as writer:
                for begun in self.aliases.intended(name):
                    if not begun.model_created and not read_versions(self._tracker, name):
                        writer.forget(begun)

    def bundle_of(self, version: ModelVersion) -> Path:
        """The local folder of a version's bundle, with what a gate saw of it looked at as well.

        Raises:
            BundleError: there is none.
            BundleTampered: it, or the evidence of the gate that judged it, was altered.
        """
        self.evidence(version)
        cache = self._home / "cache" / "models"
        folder = local_copy(version.source, self._tracker, digest=version.digest, cache=cache)
        return required(folder, f"models:/{version.model}/{version.version}")

    def check_bytes(self, version: ModelVersion) -> None:
        """That a version which a gate judged is what was judged, to the byte."""
        if EVIDENCE_TAG in version.tags:
            from forgeline.bundle.manifest import read_manifest, verify  # it imports numpy

            folder = self.bundle_of(version)
            verify(folder, read_manifest(folder)[0].digests)
