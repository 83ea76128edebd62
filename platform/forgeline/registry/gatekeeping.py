"""The judge at the gate: it holds a new model against all conditions, and keeps what it saw.

What takes time (fetching the rival, asking both models) is done before the turn to move aliases is taken. A verdict
counts for the rivals that it was given against; when an alias has moved since, another one is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline import __version__, metrics
from forgeline.errors import BundleTampered, ForgelineError, SpecError, UsageError
from forgeline.ledger.rows import plain
from forgeline.registry import answers as answering
from forgeline.registry.answers import Answers, GateData
from forgeline.registry.catalogue import ModelVersion
from forgeline.registry.conditions import (
    AnyCondition,
    Bounded,
    Calibrated,
    Exported,
    conditions_of,
    rivals_of,
    splits_of,
)
from forgeline.registry.evidence import DataRecordOfGate, Evidence, FindingRecord, RivalRecord
from forgeline.registry.export_bound import check_export, judge_export
from forgeline.registry.gates import Gate, GateResult, evaluate_gate
from forgeline.registry.judging import Compared, Finding, judge_bounded, judge_calibration

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.registry.conditions import AnyGate
    from forgeline.registry.models import Registry

BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The model that is judged.

    Attributes:
        model: the registered model that it is a version of, or will be.
        bundle: its folder.
        task: what it was trained for.
        metrics: the figures that it was registered with.
        data: the samples to measure it on; None where nothing needs measuring.
        batch_size: samples that go through a model together.
        device: where models are asked.
        key: of the spec that holds the gate, for messages.
    """

    model: str
    bundle: Path
    task: str
    metrics: Mapping[str, float]
    data: GateData | None = None
    batch_size: int = BATCH_SIZE
    device: str = "auto"
    key: str = "register.gate"


class Gatekeeper:
    """Judges one candidate by one gate, as often as rivals change.

    Args:
        registry: has the rivals.
        gate: the conditions; None lets everything pass.
        candidate: the model that is judged.
    """

    def __init__(self, registry: Registry, gate: AnyGate | None, candidate: Candidate) -> None:
        self._registry = registry
        self._conditions = conditions_of(gate)
        self._aliases = rivals_of(gate)
        self._splits = splits_of(gate)
        self._candidate = candidate
        self._answers: dict[tuple[str, str], Answers] = {}
        self._exports: dict[int, list[Finding]] = {}
        self._rivals: dict[str, ModelVersion | None] = {}
        self._findings: list[list[Finding]] | None = None
        if self._splits and candidate.data is None:
            raise SpecError("the gate is measured on samples, and there are none; name the data", key=candidate.key)

    def judge(self) -> GateResult:
        """Hold the candidate against the gate and the versions that have the aliases now; anew only if these changed.

        Raises:
            SpecError: the gate cannot be judged: no such metric, column or class.
            BundleError: a rival's bundle is not there, or another one.
        """
        if self._findings is not None and self.still_holds():
            return self.result
        self._rivals = self._holders()
        self._findings = [self._judge_one(place, condition) for place, condition in enumerate(self._conditions)]
        return self.result

    @property
    def result(self) -> GateResult:
        """The last verdict."""
        every = [finding for findings in self._findings or () for finding in findings]
        return GateResult(
            passed=all(one.held for one in every),
            reasons=tuple(one.reason for one in every),
            held=tuple(one.held for one in every),
        )

    def still_holds(self) -> bool:
        """Whether the aliases still point at the versions that the last verdict compared with."""
        return {alias: _number(rival) for alias, rival in self._rivals.items()} == {
            alias: _number(rival) for alias, rival in self._holders().items()
        }

    def evidence(self, bundle_digest: str) -> Evidence | None:
        """What the last verdict rests on; None without a gate.

        Args:
            bundle_digest: of the bundle as it was registered.
        """
        if not self._conditions:
            return None
        return Evidence(
            forgeline=__version__,
            model=self._candidate.model,
            bundle_digest=bundle_digest,
            judged=datetime.now(UTC).isoformat(timespec="seconds"),
            passed=self.result.passed,
            gate=[condition.model_dump(mode="json", exclude_none=True) for condition in self._conditions],
            findings=[
                FindingRecord(condition=place, held=one.held, reason=one.reason, figures=plain(one.figures))
                for place, findings in enumerate(self._findings or ())
                for one in findings
            ],
            rivals={
                alias: None if rival is None else RivalRecord(version=rival.version, digest=rival.digest)
                for alias, rival in self._rivals.items()
            },
            data=self._data_record(),
            notes=self._notes(),
        )

    def _holders(self) -> dict[str, ModelVersion | None]:
        return {alias: self._registry.holder(self._candidate.model, alias) for alias in self._aliases}

    def _judge_one(self, place: int, condition: AnyCondition) -> list[Finding]:
        if isinstance(condition, Gate):
            return self._judge_figures(condition)
        if isinstance(condition, Bounded):
            return self._judge_bounded(condition)
        if isinstance(condition, Calibrated):
            mine = self._mine(condition.calibration.split)
            if mine.task != "classification":
                raise SpecError(f"calibration is of classifiers; the task is {mine.task}", key=self._candidate.key)
            return [judge_calibration(condition.calibration, mine)]
        if place not in self._exports:  # the export does not change with the rival
            self._exports[place] = self._judge_export(condition)
        return self._exports[place]

    def _judge_figures(self, gate: Gate) -> list[Finding]:
        info = metrics.metric_info(self._candidate.task, gate.metric, key=f"{self._candidate.key}.metric")
        rival = None if gate.beats is None else self._rivals[gate.beats]
        theirs = None
        if rival is not None:
            theirs = self._registry.metrics_of_version(rival, of_classes="[" in gate.metric)
        found = evaluate_gate(gate, self._candidate.metrics, theirs, higher_is_better=info.higher_is_better)
        figures: dict[str, Any] = {"value": self._candidate.metrics[gate.metric]}
        if theirs is not None:
            figures["rival"] = theirs.get(gate.metric)
        return [
            Finding(held=held, reason=reason, figures=figures)
            for held, reason in zip(found.held, found.reasons, strict=True)
        ]

    def _judge_bounded(self, condition: Bounded) -> list[Finding]:
        key = f"{self._candidate.key}.metric"
        answering.check_task(self._candidate.task, key=key)
        answering.check_metric(self._candidate.task, condition.metric, key=key)
        assert self._candidate.data is not None
        split = condition.split
        rival = None if condition.beats is None else self._rivals[condition.beats]
        theirs, unanswered = None, None
        if rival is not None:
            try:
                theirs = self._ask(self._registry.bundle_of(rival), rival.digest or str(rival.version), split)
            except BundleTampered:
                raise
            except ForgelineError as error:
                # New classes or columns: the model is not comparable, which no later run can mend.
                unanswered = str(error)
        compared = Compared(mine=self._mine(split), rival=theirs, unanswered=unanswered)
        return judge_bounded(condition, compared, self._candidate.data.columns(split))

    def _judge_export(self, condition: Exported) -> list[Finding]:
        bound = condition.export
        from forgeline.export import measure_export  # it imports torch

        check_export(bound, key=f"{self._candidate.key}.export")
        samples = self._samples(bound.split, bound.samples)
        targets = samples.pop("target")
        try:
            return judge_export(bound, measure_export, self._bundle(), samples, targets)
        except UsageError as error:
            # A family that cannot be exported so: the model does not pass, and everything else about it is known.
            return [Finding(held=False, reason=f"{bound.format}: {error}", figures={"format": bound.format})]

    def _samples(self, split: str, count: int) -> dict[str, Any]:
        """The first samples of a split as the candidate takes them, with their `target`."""
        import numpy as np

        assert self._candidate.data is not None
        parts: dict[str, list[Any]] = {}
        have = 0
        for inputs, targets in self._candidate.data.batches(self._bundle(), split):
            for name, array in {**inputs, "target": targets}.items():
                parts.setdefault(name, []).append(array[: count - have])
            have += len(targets)
            if have >= count:
                break
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def _mine(self, split: str) -> Answers:
        return self._ask(self._candidate.bundle, "", split)

    def _ask(self, folder: Path, identity: str, split: str) -> Answers:
        from forgeline.bundle import Bundle

        if (identity, split) not in self._answers:
            assert self._candidate.data is not None
            self._answers[identity, split] = answering.answers_of(
                Bundle.load(folder),
                self._candidate.data,
                split,
                batch_size=self._candidate.batch_size,
                device=self._candidate.device,
            )
        return self._answers[identity, split]

    def _bundle(self) -> Bundle:
        from forgeline.bundle import Bundle

        return Bundle.load(self._candidate.bundle)

    def _data_record(self) -> DataRecordOfGate | None:
        data = self._candidate.data
        if data is None or not self._splits:
            return None
        samples = {split: len(answers) for (_, split), answers in self._answers.items()}
        return DataRecordOfGate(name=data.name, fingerprint=data.fingerprint, samples=samples)

    def _notes(self) -> list[str]:
        """What a reader should know of the comparison."""
        data = self._candidate.data
        notes: list[str] = []
        if data is None or not self._splits:
            return notes
        for alias, rival in self._rivals.items():
            trained_on = None if rival is None else rival.tags.get("forgeline.data_fingerprint")
            if rival is not None and trained_on != data.fingerprint:
                notes.append(
                    f"the {alias} (version {rival.version}) was trained on other data than these splits come from, and "
                    "may have seen some of these samples in training, which is in its favour"
                )
        return notes


def _number(version: ModelVersion | None) -> int | None:
    return None if version is None else version.version
