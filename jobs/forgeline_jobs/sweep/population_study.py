"""The mind of a sweep whose trials are a population: who waits where, and what the generations were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgeline_jobs.sweep.population import Population
from forgeline_jobs.sweep.spec import SweepSpec
from forgeline_jobs.sweep.study import Entries, Study
from forgeline_jobs.sweep.trials import Copy, copies_of


class PopulationStudy(Study):
    """Suggests the values that trials begin with, and has the worst copy the best after each interval.

    Args:
        spec: of the sweep.
        journal: what was written so far.
        maximise: whether more is better.
        length: of a trial's training, in the unit of the interval.
        known: of the train spec, the keys that constraints may name, with their values.
    """

    def __init__(
        self,
        spec: SweepSpec,
        journal: Entries,
        *,
        maximise: Sequence[bool],
        length: int,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        self._population = Population(spec, maximise=maximise[0], known=known or {})
        self._length = length
        self._decided = 0
        self._copies: list[Copy] = []
        super().__init__(spec, journal, maximise=maximise, known=known)
        self._decide()  # a driver may have been killed between the last report and this

    @property
    def decided(self) -> int:
        """The step of the newest generation; 0 before the first."""
        return self._decided

    @property
    def copies(self) -> Sequence[Copy]:
        """Those of the newest generation."""
        return self._copies

    @property
    def pause(self) -> int | None:
        """The step at which trials wait for each other next; None where they go on to their ends."""
        step = self._decided + self._spec.search.interval.value
        return step if step < self._length else None

    def waits(self, number: int) -> bool:
        """Whether a trial has trained as far as it may for now."""
        return self.pause is not None and self.trials[number].step >= self.pause

    def _write(self, *entries: Mapping[str, Any]) -> None:
        super()._write(*entries)
        self._decide()  # a report may be the last that the others waited for, and so may an end

    def _decide(self) -> None:
        """Write down what becomes of the population, where all of it has trained as far."""
        step = self._decided + self._spec.search.interval.value
        living = self.open_trials()
        if step >= self._length or not self.is_full() or not living or any(trial.step < step for trial in living):
            return
        copies = self._population.copies(self.trials, step)
        told = [{"trial": copy.trial, "source": copy.source, "values": dict(copy.values)} for copy in copies]
        self._write({"entry": "generation", "step": step, "copies": told})

    def _take(self, entry: Mapping[str, Any]) -> None:
        super()._take(entry)
        if entry["entry"] == "generation":
            self._decided, self._copies = entry["step"], copies_of(entry)
        elif entry["entry"] == "dropped":
            self._copies = [copy for copy in self._copies if copy.trial != entry["trial"]]
