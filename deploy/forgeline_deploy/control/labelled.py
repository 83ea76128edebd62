"""Labels as evidence of a rollout: pairs of answers to one request, and answers by themselves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from forgeline_deploy.control.traffic import CHALLENGER, CHAMPION, SHADOW
from forgeline_deploy.monitor import window_file
from forgeline_deploy.rollout import Counting, Evidence, LossScale

if TYPE_CHECKING:
    from forgeline_deploy.monitor import StoredWindow
    from forgeline_deploy.monitor.labels import LabelFile
    from forgeline_deploy.monitor.store import WindowFolder
    from forgeline_deploy.rollout import Rollout


def evidence_of(
    rollout: Rollout,
    entered: Sequence[float],
    files: Sequence[LabelFile],
    windows: Sequence[StoredWindow],
    folder: WindowFolder,
) -> Evidence:
    """What files of labels say about the two versions of a rollout.

    Args:
        entered: when each step began, unix seconds, as far as they have.
        files: each is a source of its own, named by its content, so that it counts once.
        windows: all that are stored.
        folder: of their files.

    Raises:
        WindowCorrupted: a file is not as it was stored.
    """
    compare = rollout.config.compare
    if compare is None:
        return Evidence()
    scale = LossScale(compare.metric, compare.largest)
    cells: dict[tuple[int, str], Any] = {}
    for file in files:
        if file.taken < rollout.started:
            continue
        counting: dict[int, Counting] = {}
        for answers in _by_request(file, folder).values():
            stored = windows[answers[0]["window"]]
            step = _step(stored.end, entered)
            if step is not None:
                one = counting.setdefault(step, Counting(rollout.config.guard, scale))
                _count(one, rollout, answers, shadows=rollout.config.steps[step].shadow)
        cells |= {(step, f"labels:{file.sha256[:16]}"): found.counts() for step, found in counting.items()}
    return Evidence(dict(sorted(cells.items())))


def step_times(events: Sequence[Mapping[str, Any]], rollout: str) -> list[float]:
    """When each step of a rollout began, by its events."""
    names = ("rollout_started", "rollout_advanced")
    return [float(e["at"]) for e in events if e.get("rollout") == rollout and e.get("event") in names]


def _by_request(file: LabelFile, folder: WindowFolder) -> dict[str, list[dict[str, Any]]]:
    content = window_file.sealed_bytes(folder.path, file.joined)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(io.BytesIO(content)).to_pylist():
        found.setdefault(row["request"], []).append(row)
    return found


def _step(end: float, entered: Sequence[float]) -> int | None:
    """The step in which a window that ended then was answered; None before the rollout.

    A window in which a step began is of that step: what the two versions were asked in it is told apart by role.
    """
    begun = [step for step, moment in enumerate(entered) if moment < end]
    return begun[-1] if begun else None


def _count(counting: Counting, rollout: Rollout, answers: Sequence[Mapping[str, Any]], *, shadows: bool) -> None:
    by_role = {(row["role"], row["version"]): row for row in answers}
    champion = by_role.get((CHAMPION, str(rollout.champion)))
    shadow = by_role.get((SHADOW, str(rollout.challenger)))
    challenger = by_role.get((CHALLENGER, str(rollout.challenger)))
    label = answers[0]["label"]
    try:
        if champion is not None and shadow is not None:
            if shadows:
                counting.pair(champion=champion["prediction"], challenger=shadow["prediction"], label=label)
        elif champion is not None and not shadows:
            counting.labelled(CHAMPION, answer=champion["prediction"], label=label)
        elif challenger is not None and not shadows:
            counting.labelled(CHALLENGER, answer=challenger["prediction"], label=label)
    except ValueError:
        return  # a label that is none of the metric was told of when it was joined
