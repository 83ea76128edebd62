"""Two courses of training held against each other, step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KINDS = ("samples", "loss", "weights")

Step = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where the courses part.

    Attributes:
        what: the first of samples, loss and weights that differs; or `missing`, a step that was not done.
        expected: of the run that was not interrupted.
        found: of the one that was.
    """

    step: int
    rank: int
    attempt: int
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        if self.what == "missing":
            return f"step {self.step} was not done by rank {self.rank}"
        return (
            f"step {self.step}, rank {self.rank}, attempt {self.attempt}: {self.what} {_shown(self.found)}, "
            f"without the interruption {_shown(self.expected)}"
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of holding them against each other.

    Attributes:
        compared: steps of ranks that were compared, those that were done twice counted twice.
        steps: steps of the run.
        ranks: workers.
        divergence: the first one, by step; None where every step is the same.
    """

    compared: int
    steps: int
    ranks: int
    divergence: Divergence | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def traces(folder: Path) -> dict[int, Path]:
    """The files of an attempt's traces, by rank."""
    return {int(path.stem.removeprefix("trace-")): path for path in folder.glob("trace-*.jsonl")}


def read(folder: Path) -> dict[int, list[Step]]:
    """The traces of an attempt, by rank; a line that was cut short by a kill is left out."""
    return {rank: list(_lines(path)) for rank, path in traces(folder).items()}


def compare(whole: Mapping[int, Sequence[Step]], attempts: Sequence[Mapping[int, Sequence[Step]]]) -> Comparison:
    """Hold every step of every attempt against the same step of the whole run.

    Args:
        whole: traces of the run that was not interrupted, by rank.
        attempts: the same of each attempt of the one that was.
    """
    expected = {(rank, step["step"]): step for rank, steps in whole.items() for step in steps}
    compared, done, divergences = 0, set(), []
    for number, ranks in enumerate(attempts, start=1):
        for rank, steps in ranks.items():
            for step in steps:
                place = rank, step["step"]
                compared += 1
                done.add(place)
                divergences += _differences(place, number, expected.get(place, {}), step)
    divergences += [
        Divergence(step=step, rank=rank, attempt=len(attempts), what="missing", expected="", found="")
        for rank, step in expected.keys() - done
    ]
    first = (
        min(divergences, key=lambda one: (one.step, KINDS.index(one.what) if one.what in KINDS else -1, one.rank))
        if divergences
        else None
    )
    return Comparison(compared=compared, steps=len({step for _, step in expected}), ranks=len(whole), divergence=first)


def _differences(place: tuple[int, int], attempt: int, expected: Step, found: Step) -> list[Divergence]:
    rank, step = place
    return [
        Divergence(step=step, rank=rank, attempt=attempt, what=kind, expected=expected.get(kind, ""), found=found[kind])
        for kind in KINDS
        if expected.get(kind) != found[kind]
    ]


def _lines(path: Path) -> Iterator[Step]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _shown(value: str) -> str:
    """A loss as a number, a digest as its beginning."""
    try:
        return ", ".join(repr(float.fromhex(part)) for part in value.split()) if "0x" in value else value[:12]
    except ValueError:
        return value[:12]
