"""From database rows to records, and from values to what JSON can hold.

PostgreSQL gives times and JSON as objects, SQLite as text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from forgeline.ledger.records import AliasMove, ApprovalEvent, AttemptRecord, RunRecord
from forgeline.ledger.states import Reason, State

_MOMENTS = ("created", "submitted", "started", "ended", "cancel_requested", "moved", "expires")
_OBJECTS = ("labels", "gpus", "metrics", "result", "chosen", "entry")


def run_of(row: Mapping[str, Any]) -> RunRecord:
    """The record of a row of `runs`."""
    fields = _read(row)
    fields["state"] = State(fields["state"])
    fields["metrics"] = {key: math.nan if value is None else value for key, value in fields["metrics"].items()}
    return RunRecord(**fields)


def attempt_of(row: Mapping[str, Any]) -> AttemptRecord:
    """The record of a row of `attempts`."""
    fields = _read(row)
    fields["outcome"] = State(fields["outcome"]) if fields["outcome"] is not None else None
    return AttemptRecord(**fields)


def entry_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a row of `journal`."""
    entry: dict[str, Any] = _read(row)["entry"]
    return entry


def alias_move_of(row: Mapping[str, Any]) -> AliasMove:
    """The record of a row of `alias_moves`."""
    fields = {key: value for key, value in _read(row).items() if key != "id"}
    return AliasMove(**fields | {"rollback": bool(fields["rollback"])})


def approval_of(row: Mapping[str, Any]) -> ApprovalEvent:
    """The record of a row of `alias_approvals`."""
    return ApprovalEvent(**{key: value for key, value in _read(row).items() if key != "id"})


def plain(value: Any) -> Any:
    """`value` as JSON can hold it, which has no NaN and no infinity (PostgreSQL refuses them); what else, as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return number if math.isfinite(number) else None


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(row)
    for key in _MOMENTS:
        moment = fields.get(key)
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if isinstance(moment, datetime):
            fields[key] = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    for key in _OBJECTS:
        if isinstance(fields.get(key), str):
            fields[key] = json.loads(fields[key])
    if fields.get("reason") is not None:
        fields["reason"] = Reason(fields["reason"])
    return fields
