"""The driver's eye on the workers of one attempt, in a thread beside Ray Train: hangs, notices, deaths, progress."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forgeline_jobs.train import heartbeat, nodes, notices, stuck
from forgeline_jobs.train.hang import HangWatch, Stuck
from forgeline_jobs.train.heartbeat import Beat

HANG = "hang.json"

_POLL_S = 0.5
_DRAIN_POLL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Death:
    """A worker process that was gone before it was done.

    Attributes:
        oom_kills: processes that its node's kernel had killed for memory by then.
    """

    rank: int
    oom_kills: int | None


class AttemptWatch:
    """Watches an attempt while it is entered.

    Args:
        folder: of the attempt.
        hang_after_s: seconds without progress that a step may last.
        grace_s: seconds that workers have for a last checkpoint after a notice.
        progressed: called when the workers got on.
        asks_nodes: whether to ask Ray for nodes that are about to be taken away.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hang_after_s: float,
        grace_s: float,
        progressed: Callable[[], None],
        asks_nodes: bool,
    ) -> None:
        self._folder = folder
        self._grace_s = grace_s
        self._progressed = progressed
        self._asks_nodes = asks_nodes
        self._hangs = HangWatch(hang_after_s, is_stopped=_is_stopped)
        self._leaving = threading.Event()
        self._noticed_at: float | None = None
        self._ask_nodes_at = 0.0
        self._told_at: float | None = None
        self._ended = False
        self.deaths: dict[int, Death] = {}
        self._thread = threading.Thread(target=self._run, name="attempt-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join(2 * _POLL_S)

    def _run(self) -> None:
        while not self._leaving.wait(_POLL_S):
            try:
                self.look(time.monotonic())
            except Exception:
                # A disk or a node that fails for a moment must not end the watch.
                traceback.print_exc(file=sys.stderr)

    def look(self, now: float) -> None:
        """Look once."""
        beats = heartbeat.read_all(self._folder)
        hanging = self._hangs.look(beats, now)
        if self._hangs.progressed_at != self._told_at:
            self._told_at = self._hangs.progressed_at
            self._progressed()
        self._find_deaths(beats)
        if self._asks_nodes and now >= self._ask_nodes_at:
            self._ask_nodes_at = now + _DRAIN_POLL_S
            self._pass_on_draining(beats)
        self._keep_grace(beats, now)
        if hanging and not self._ended:
            self._end_hang(hanging, beats)

    def _find_deaths(self, beats: dict[int, Beat]) -> None:
        for rank, beat in beats.items():
            if rank in self.deaths or beat.done or not nodes.is_here(beat.who):
                continue
            if stuck.state_of(beat.who.pid, beat.who.started_s) == "gone":
                # It may have said so between the two looks.
                newest = heartbeat.read(self._folder / f"heartbeat-{rank}")
                if newest is None or not newest.done:
                    self.deaths[rank] = Death(rank=rank, oom_kills=heartbeat.oom_kills())

    def _pass_on_draining(self, beats: dict[int, Beat]) -> None:
        drained = nodes.draining() if beats else set()
        for rank, beat in beats.items():
            if beat.who.node in drained and not beat.done and rank not in notices.told(self._folder):
                notices.leave(self._folder, rank, f"its node {beat.who.host} is being drained")

    def _keep_grace(self, beats: dict[int, Beat], now: float) -> None:
        """Workers that were told to leave and do not are ended: their place will be taken from them anyway."""
        if not (self._folder / notices.NOTICE).exists():
            return
        self._noticed_at = now if self._noticed_at is None else self._noticed_at
        if now - self._noticed_at >= self._grace_s and not self._ended:
            self._end(beats)

    def _end_hang(self, hanging: list[Stuck], beats: dict[int, Beat]) -> None:
        """Say who hangs and where, then end all workers: the rest would wait for the collective's timeout."""
        blamed = {one.beat.who.rank: one for one in hanging}
        seen: list[dict[str, Any]] = []
        for rank, beat in beats.items():
            if beat.done:
                continue
            try:
                file = stuck.stack_file(self._folder, rank)
                sight = nodes.on_node(beat.who, stuck.look, beat.who.pid, beat.who.started_s, file)
            except nodes.NodeGone:
                # Not for this watch to end: Ray is about to find out.
                if rank in blamed:
                    return
                continue
            if rank in blamed and sight.state == "gone":
                return
            seen.append(_told(beat, sight, blamed.get(rank)))
        verdict = {"message": "; ".join(str(one["told"]) for one in seen if one["hangs"]), "ranks": seen}
        with suppress(OSError):
            (self._folder / HANG).write_text(json.dumps(verdict, indent=1), encoding="utf-8")
        self._end(beats)

    def _end(self, beats: dict[int, Beat]) -> None:
        self._ended = True
        end_workers(beats)


def end_workers(beats: Mapping[int, Beat]) -> None:
    """End the workers of an attempt, wherever they are, without asking."""
    for beat in beats.values():
        if not beat.done:
            with suppress(nodes.NodeGone):
                nodes.on_node(beat.who, stuck.end, beat.who.pid, beat.who.started_s)


def _is_stopped(beat: Beat) -> bool:
    return nodes.is_here(beat.who) and stuck.state_of(beat.who.pid, beat.who.started_s) in ("T", "t")


def _told(beat: Beat, sight: stuck.Sight, hanging: Stuck | None) -> dict[str, Any]:
    who = beat.who
    told = ""
    if hanging is not None:
        told = (
            f"rank {who.rank} on {who.host} (process {who.pid}) made no progress for {hanging.for_s:.0f} s at step "
            f"{beat.step}, {beat.phase.word}: {sight.in_words}"
        )
    return {
        "rank": who.rank,
        "hangs": hanging is not None,
        "host": who.host,
        "node": who.node,
        "pid": who.pid,
        "step": beat.step,
        "batch": beat.batch,
        "phase": beat.phase.name.lower(),
        "state": sight.state,
        "told": told,
        "stack": list(sight.stack),
        "threads": sight.threads,
    }
