"""Whether a run can go on with another specification than the one it began with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forgeline.errors import SpecError, UsageError
from forgeline.spec.loading import load
from forgeline.spec.source import read_document

FIXED = ("architecture", "data", "strategy")
_SHOWN = 60


def check_unchanged(run_id: str, *, stored: str, given: str, fixed: Sequence[str] = FIXED) -> None:
    """Refuse what a run cannot go on with: its weights and its place in the data belong to what it began with.

    Args:
        stored: the resolved specification that the run has, as YAML.
        given: the one that it should go on with.
        fixed: dotted keys that a run keeps for life, beside its kind.

    Raises:
        UsageError: the kind or a fixed key differ; names the keys with both values.
    """
    before, now = read_document(_whole(stored)).data, read_document(given).data
    differing = [("kind", before.get("kind"), now.get("kind"))] if before.get("kind") != now.get("kind") else []
    for key in fixed:
        if key == "strategy":
            then, asked = _strategy(before), _strategy(now)
            differing += [(key, then, asked)] if then != asked else []
        elif _has(before, key) and _has(now, key):
            differing += _differing(_at(before, key), _at(now, key), key)
    if differing:
        shown = ", ".join(f"{key} ({_shown(then)}, now {_shown(given)})" for key, then, given in differing)
        raise UsageError(
            f"--resume: run {run_id} began with another {shown}; kind, {', '.join(fixed[:-1])} and {fixed[-1]} of "
            "a run stay as they are: give it the same values, or start a new run without --resume"
        )


def _whole(stored: str) -> str:
    """The specification with the keys that have come since it was stored, at their defaults."""
    try:
        return load(stored, stored=True).text
    except SpecError:
        # It was written by another version, and cannot be read by this one: it is compared as it stands.
        return stored


def _has(document: Any, key: str) -> bool:
    first, _, rest = key.partition(".")
    return isinstance(document, dict) and first in document and (not rest or _has(document[first], rest))


def _at(document: Any, key: str) -> Any:
    for part in key.split("."):
        document = document[part]
    return document


def _strategy(document: Mapping[str, Any]) -> Any:
    """The name alone: the settings of a strategy may change, and so may the number of workers."""
    strategy = document.get("strategy")
    return strategy.get("name") if isinstance(strategy, dict) else strategy


def _differing(before: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Keys whose values differ, with both of them."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differing(before.get(key), now.get(key), f"{path}.{key}")
    elif before != now:
        yield path, before, now


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
