"""Exactly one job: whether a model is trained again, and that training, decided by the journal of the deployment.

A retraining is wanted, approved (or refused), launched and ended; each is written down. The launch is the one step that
reaches outside: its run has the label `forgeline.once`, by which a controller that was killed before it could write the
run's id finds it again, and by which the ledger refuses a second one to controllers that race.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from forgeline.errors import ForgelineError, NotFound, SpecError, UsageError
from forgeline.ledger.decisions import Decisions, Entries, Entry
from forgeline.ledger.records import RunRecord
from forgeline.ledger.states import State
from forgeline_deploy.retraining import attempt as entries
from forgeline_deploy.retraining.attempt import Attempt, Outcome, Stage, taken
from forgeline_deploy.retraining.launcher import LAUNCH_S, Launcher, LaunchRefused
from forgeline_deploy.retraining.spec import CHALLENGER, RetrainConfig, training

AUTO = "auto"
FIRST_WAIT_S, LONGEST_WAIT_S, MOST_TRIES = 30.0, 3600.0, 12


class LabelledSamples(Protocol):
    """The deployment's answers whose labels are known."""

    def write(self, folder: Path, *, since: float, most: int) -> Path:
        """Write the newest of them into a folder by `forgeline.preprocessing.recent`; returns the file.

        Args:
            folder: which may not exist yet.
            since: unix seconds.
            most: how many at most.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A reason to train again: an alarm.

    Attributes:
        why: what the alarm means.
        summary: what is wrong, in one sentence.
        labelled: how many labelled samples there are to learn from.
    """

    why: Literal["harm", "drift"]
    summary: str
    labelled: int


class Retrainings(Decisions):
    """The retrainings in a journal, and the decisions of people about them.

    Args:
        journal: of the deployment's run.
    """

    def __init__(self, journal: Entries) -> None:
        super().__init__(journal)
        self._attempts: dict[int, Attempt] = {}
        self._catch_up()

    @property
    def all(self) -> Sequence[Attempt]:
        """First to last."""
        self._catch_up()
        return tuple(self._attempts.values())

    @property
    def current(self) -> Attempt | None:
        """The one that goes on."""
        last = self.all[-1:]
        return last[0] if last and last[0].is_open else None

    def approve(self, by: str, now: float) -> Attempt:
        """A person lets the one that is wanted begin.

        Raises:
            UsageError: none waits for it.
        """
        return self._answer({"entry": entries.APPROVED, "by": by, "at": now})

    def refuse(self, by: str, now: float, *, message: str = "") -> Attempt:
        """A person does not let it begin.

        Raises:
            UsageError: none waits for it.
        """
        return self._answer({"entry": entries.REFUSED, "by": by, "at": now, "message": message})

    def _answer(self, answer: dict[str, Any]) -> Attempt:
        def step() -> list[Entry]:
            last = self._last()
            if last is None or last.stage is not Stage.WANTED:
                stands = "none was wanted yet" if last is None else f"the last one is {last.stage}"
                raise UsageError(f"no retraining waits for approval; {stands}")
            return [{**answer, "number": last.number}]

        [written] = self._decide(step)
        return self._attempts[written["number"]]

    def _last(self) -> Attempt | None:
        return self._attempts[max(self._attempts)] if self._attempts else None

    def _take(self, entry: Entry) -> None:
        if str(entry["entry"]).startswith("retrain."):
            number = entry["number"]
            self._attempts[number] = taken(self._attempts.get(number), entry)


class Retraining(Retrainings):
    """The controller's side: wishes become runs.

    Args:
        config: `retrain` of the deployment.
        journal: of the deployment's run.
        launcher: begins runs.
        run_id: of the deployment.
        model: name of the registered model.
        folder: for samples and specifications; each retraining has a folder of its own in it.
    """

    def __init__(
        self, config: RetrainConfig, journal: Entries, launcher: Launcher, *, run_id: str, model: str, folder: Path
    ) -> None:
        super().__init__(journal)
        self._config = config
        self._launcher = launcher
        self._run_id = run_id
        self._model = model
        self._folder = folder

    def hindrance(self, wish: Wish, now: float) -> str | None:
        """Why a wish is not granted now, in one sentence; None where it is."""
        self._catch_up()
        return self._hindrance(wish, now)

    def want(self, wish: Wish, now: float) -> str | None:
        """An alarm asks for a retraining. Asking again while it lasts changes nothing.

        Returns:
            None where one is wanted from now on; else why not.
        """
        told: list[str | None] = [None]

        def step() -> list[Entry]:
            told[0] = self._hindrance(wish, now)
            if told[0] is not None:
                return []
            last = self._last()
            number = 1 if last is None else last.number + 1
            wanted = {"entry": entries.WANTED, "number": number, "at": now, "why": wish.why, "summary": wish.summary}
            if self._config.approve == "person":
                return [wanted]
            return [wanted, {"entry": entries.APPROVED, "number": number, "at": now, "by": AUTO}]

        self._decide(step)
        return told[0]

    def advance(self, samples: LabelledSamples, now: float) -> Attempt | None:
        """Do what is next for the one that goes on: launch it, or see whether it has ended.

        Launching takes as long as the check of the data does: call it in a thread of its own. Killed anywhere, called
        again, and called by two at once it comes to one run.

        Returns:
            The last retraining as it stands now; None where there was none.

        Raises:
            LedgerError: the database does not answer; nothing is forgotten.
        """
        current = self.current
        if current is not None and current.stage in (Stage.WANTED, Stage.APPROVED):
            # A person answers from another process, and another controller may have ended it long ago.
            self._journal.refresh()
            current = self.current
        if current is not None and current.stage is Stage.APPROVED and current.again <= now:
            self._launch(current, samples, now)
        elif current is not None and current.stage is Stage.LAUNCHED:
            self._look(current, now)
        elif (last := self._last()) is not None and last.outcome is Outcome.NOT_LAUNCHED:
            self._find(last, now)
        return self._last()

    def _hindrance(self, wish: Wish, now: float) -> str | None:
        config, last = self._config, self._last()
        if wish.why == "drift" and config.when == "harm":
            return "retrain.when is harm, and this is drift"
        if last is not None and last.is_open:
            return f"retraining {last.number} is {last.stage}"
        cooldown = config.cooldown.total_seconds()
        if last is not None and last.outcome is Outcome.NOT_LAUNCHED:
            # Another controller may be about to launch it all the same, or has done so and was killed.
            cooldown = max(cooldown, LAUNCH_S)
            if self._launcher.begun(once_name(self._run_id, last.number)) is not None:
                return f"retraining {last.number} has begun after all"
        if last is not None and now < (over := last.changed + cooldown):
            return f"retrain.cooldown after retraining {last.number} lasts for {over - now:.0f} s yet"
        begun = [each.launched for each in self._attempts.values() if each.launched is not None]
        recent = [moment for moment in begun if moment > now - config.at_most.span.total_seconds()]
        if len(recent) >= config.at_most.count:
            return f"{len(recent)} began within {config.at_most.span}; retrain.at_most is {config.at_most}"
        if wish.labelled < config.data.least:
            return f"there are {wish.labelled} labelled samples; retrain.data.least is {config.data.least}"
        return None

    def _launch(self, current: Attempt, samples: LabelledSamples, now: float) -> None:
        once = once_name(self._run_id, current.number)
        known = self._launcher.begun(once)
        try:
            run = known.id if known is not None else self._begin(current, samples, once, now)
        except (LaunchRefused, SpecError, UsageError) as error:
            self._conclude(current, Outcome.NOT_LAUNCHED, now, message=str(error))
        except (ForgelineError, OSError) as error:
            self._delay(current, str(error), now)
        else:
            self._go_on(current, {"entry": entries.LAUNCHED, "at": now, "run": run})

    def _begin(self, current: Attempt, samples: LabelledSamples, once: str, now: float) -> str:
        folder = self._folder / str(current.number)
        recent = self._collected(folder) or self._collect(folder, samples, now)
        spec = folder / "train.yaml"
        text = training(self._config, model=self._model, recent=recent, once=once).text
        spec.write_text(text, encoding="utf-8")
        return self._launcher.launch(spec, once)

    def _find(self, last: Attempt, now: float) -> None:
        """What this controller could not launch may have been by another one, which was killed before it said so."""
        known = self._launcher.begun(once_name(self._run_id, last.number))
        if known is not None:
            self._go_on(last, {"entry": entries.LAUNCHED, "at": now, "run": known.id})

    def _collected(self, folder: Path) -> Path | None:
        return next(iter(sorted(folder.glob("recent.*"))), None)

    def _collect(self, folder: Path, samples: LabelledSamples, now: float) -> Path:
        """The samples in a file that stays as it is: the run is of one set of them, whoever launches it."""
        own = folder / f"collecting-{uuid.uuid4().hex}"
        since = now - self._config.data.since.total_seconds()
        written = samples.write(own, since=since, most=self._config.data.most)
        final = folder / f"recent{written.suffix}"
        with contextlib.suppress(FileExistsError):
            # Unlike renaming, this leaves alone what another controller has collected meanwhile.
            os.link(written, final)
        shutil.rmtree(own)
        return final

    def _look(self, current: Attempt, now: float) -> None:
        assert current.run is not None
        try:
            record = self._launcher.get(current.run)
        except NotFound as error:
            self._conclude(current, Outcome.FAILED, now, message=str(error))
            return
        if record.is_final:
            outcome, version = _judged(record)
            self._conclude(current, outcome, now, version=version, message=record.message)

    def _delay(self, current: Attempt, message: str, now: float) -> None:
        tries = current.tries + 1
        if tries >= MOST_TRIES:
            self._conclude(current, Outcome.NOT_LAUNCHED, now, message=f"after {tries} tries: {message}")
            return
        again = now + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (tries - 1))
        told = {"entry": entries.DELAYED, "at": now, "tries": tries, "again": again, "message": message[:500]}
        self._go_on(current, told)

    def _conclude(
        self, current: Attempt, outcome: Outcome, now: float, *, version: int | None = None, message: str | None = None
    ) -> None:
        told = {"outcome": str(outcome), "version": version, "message": None if message is None else message[:500]}
        self._go_on(current, {"entry": entries.ENDED, "at": now, **told})

    def _go_on(self, current: Attempt, entry: dict[str, Any]) -> None:
        """Write the next entry of a retraining, unless another controller has brought it further already."""

        def step() -> list[Entry]:
            known = self._attempts[current.number]
            if entry["entry"] == entries.LAUNCHED:
                # Where one controller could not launch it, another did.
                stands = known.stage is Stage.APPROVED or known.outcome is Outcome.NOT_LAUNCHED
            else:
                stands = known.stage is current.stage and known.tries == current.tries
            return [{**entry, "number": current.number}] if stands else []

        self._decide(step)


def once_name(run_id: str, number: int) -> str:
    """What a retraining's run is labelled with.

    >>> once_name("3f2a", 2)
    'retrain/3f2a/2'
    """
    return f"retrain/{run_id}/{number}"


def _judged(record: RunRecord) -> tuple[Outcome, int | None]:
    """How the training came out, and the version of its model."""
    if record.state is not State.SUCCEEDED:
        return Outcome(str(record.state)), None
    registered = record.result.get("registered") or {}
    version = registered.get("version")
    return (Outcome.PASSED if registered.get("alias") == CHALLENGER else Outcome.GATE_FAILED), version
