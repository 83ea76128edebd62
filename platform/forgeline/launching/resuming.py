"""Whether a run can go on with another specification than the one it began with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from forgeline.errors import UsageError
from forgeline.spec.source import read_document

_FIXED = ("architecture", "data")
_SHOWN = 60


def check_unchanged(run_id: str, *, stored: str, given: str) -> None:
    """Refuse what a run cannot go on with: its weights and its place in the data belong to what it began with.

    Args:
        stored: the resolved specification that the run has, as YAML.
        given: the one that it should go on with.

    Raises:
        UsageError: kind, architecture, data or strategy differ; names the keys with both values.
    """
    before, now = read_document(stored).data, read_document(given).data
    differing = [("kind", before.get("kind"), now.get("kind"))] if before.get("kind") != now.get("kind") else []
    for block in _FIXED:
        if block in before and block in now:
            differing += _differing(before[block], now[block], block)
    if _strategy(before) != _strategy(now):
        differing.append(("strategy", _strategy(before), _strategy(now)))
    if differing:
        shown = ", ".join(f"{key} ({_shown(then)}, now {_shown(given)})" for key, then, given in differing)
        raise UsageError(
            f"--resume: run {run_id} began with another {shown}; kind, architecture, data and strategy of "
            "a run stay as they are: give it the same values, or start a new run without --resume"
        )


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
