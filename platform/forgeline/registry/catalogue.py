"""Reading the registry, quickly where that is possible.

MLflow takes more than a second to import, and a listing must answer in less. Where the store is a database, its own
tables are read; where it is a server, or the tables are not as they were, MLflow's client is asked. Only reading:
everything is written by the client.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from forgeline.errors import LedgerError
from forgeline.ledger.sql_reading import SqlReader, sqlite_file
from forgeline.tracking.tracker import Tracker

METRICS_TAG = "forgeline.metrics"
DIGEST_TAG = "forgeline.bundle_digest"
EVIDENCE_TAG = "forgeline.evidence"
_DELETED = "Deleted_Internal"
_TABLES = {
    "model_versions": "name, version, creation_time, run_id, source, current_stage",
    "model_version_tags": "name, version, key, value",
    "registered_model_aliases": "name, alias, version",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a registered model.

    Attributes:
        run_id: the run that made it.
        source: URI of its files.
        aliases: names that point at it now, sorted.
        metrics: what it was registered with, those of single classes left out; the bundle has all.
        tags: lineage and whatever else it was tagged with.
    """

    model: str
    version: int
    created: datetime
    run_id: str | None
    source: str
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def digest(self) -> str | None:
        """sha256 of the `bundle.json` that was registered."""
        return self.tags.get(DIGEST_TAG)


def read_versions(tracker: Tracker, model: str | None = None) -> list[ModelVersion]:
    """Versions of a model (of all models without a name), by name and number.

    Raises:
        TrackingError: the store does not answer.
    """
    file = sqlite_file(tracker.uri)
    if file is not None and not file.exists():
        return []
    found = _from_tables(tracker.uri, model)
    if found is None:
        found = _from_client(tracker, model)
    return sorted(found, key=lambda version: (version.model, version.version))


def read_created(tracker: Tracker, model: str) -> int:
    """When a model was registered first in its store, in milliseconds since 1970; 0 where the store does not tell.

    It tells a model from one of the same name in another store, or from one that was deleted before.

    Raises:
        TrackingError: the store does not answer.
    """
    if _is_database(tracker.uri):
        with closing(SqlReader(tracker.uri)) as reader, suppress(LedgerError):
            rows = reader.rows("SELECT creation_time FROM registered_models WHERE name = :model", {"model": model})
            return int(rows[0]["creation_time"] or 0) if rows else 0
    client = tracker.client
    with tracker.guarded():
        return int(client.get_registered_model(model).creation_timestamp or 0)


def _is_database(uri: str) -> bool:
    return uri.partition("://")[0].partition("+")[0] in ("sqlite", "postgresql", "mysql")


def _from_tables(uri: str, model: str | None) -> list[ModelVersion] | None:
    """None when the store is no database, or not one of the form that is known here."""
    if not _is_database(uri):
        return None
    chosen = "" if model is None else "WHERE name = :model"
    # Closed, since a server has few connections and whoever waits for an alias reads often.
    with closing(SqlReader(uri)) as reader:
        try:
            versions, tags, aliases = (
                reader.rows(f"SELECT {columns} FROM {table} {chosen}", {"model": model} if model is not None else {})
                for table, columns in _TABLES.items()
            )
        except LedgerError:
            return None
    tags_of: dict[tuple[str, int], dict[str, str]] = {}
    for tag in tags:
        tags_of.setdefault((tag["name"], tag["version"]), {})[tag["key"]] = tag["value"]
    found = (
        _version(row["name"], row["version"], row["creation_time"], row["run_id"], row["source"], tags_of)
        for row in versions
        if row["current_stage"] != _DELETED
    )
    return _with_aliases(found, ((alias["name"], alias["alias"], alias["version"]) for alias in aliases))


def _from_client(tracker: Tracker, model: str | None) -> list[ModelVersion]:
    client = tracker.client
    chosen = {} if model is None or "'" in model else {"filter_string": f"name = '{model}'"}
    with tracker.guarded():
        models = [one for one in _pages(client.search_registered_models, **chosen) if model in (None, one.name)]
        rows = [row for row in _pages(client.search_model_versions, **chosen) if model in (None, row.name)]
    tags = {(row.name, int(row.version)): dict(row.tags) for row in rows}
    versions = (_version(row.name, row.version, row.creation_timestamp, row.run_id, row.source, tags) for row in rows)
    aliases = ((one.name, alias, number) for one in models for alias, number in one.aliases.items())
    return _with_aliases(versions, aliases)


def _version(
    model: str,
    number: int | str,
    created_ms: int,
    run_id: str | None,
    source: str,
    tags_of: Mapping[tuple[str, int], Mapping[str, str]],
) -> ModelVersion:
    tags = dict(tags_of.get((model, int(number)), {}))
    metrics = json.loads(tags.pop(METRICS_TAG, "{}"))
    return ModelVersion(
        model=model,
        version=int(number),
        created=datetime.fromtimestamp(created_ms / 1000, UTC),
        run_id=run_id or None,
        source=source,
        aliases=(),
        metrics={key: math.nan if value is None else float(value) for key, value in metrics.items()},
        tags=tags,
    )


def _with_aliases(
    versions: Iterable[ModelVersion], aliases: Iterable[tuple[str, str, int | str]]
) -> list[ModelVersion]:
    names: dict[tuple[str, int], list[str]] = {}
    for model, alias, number in aliases:
        names.setdefault((model, int(number)), []).append(alias)
    return [replace(one, aliases=tuple(sorted(names.get((one.model, one.version), ())))) for one in versions]


def _pages(search: Any, **chosen: str) -> Iterable[Any]:
    token = None
    while True:
        page = search(page_token=token, **chosen)
        yield from page
        token = page.token
        if not token:
            return
