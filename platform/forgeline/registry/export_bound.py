"""Bounds on an exported model: what it weighs, how long it takes, and how far its outputs are from the module's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from forgeline.errors import SpecError
from forgeline.registry.conditions import ExportBound
from forgeline.registry.judging import Finding

if TYPE_CHECKING:
    from forgeline.bundle import Bundle


class ExportFigures(Protocol):
    """What was measured of one exported form."""

    @property
    def size_bytes(self) -> int:
        """Of the exported files."""

    @property
    def p50_ms(self) -> float:
        """Median latency of one sample."""

    @property
    def p99_ms(self) -> float:
        """99th percentile of it."""

    @property
    def parity(self) -> float:
        """Largest absolute difference of an output from the training module's."""


class MeasureExport(Protocol):
    """Exports a bundle and measures that."""

    def __call__(self, bundle: Bundle, form: str, samples: Mapping[str, Any]) -> ExportFigures:
        """Measure a bundle's exported form.

        Args:
            bundle: the trained model.
            form: such as `onnx`.
            samples: encoded inputs by name, and `target`.

        Raises:
            UsageError: there is no such form, or the model cannot be exported to it.
        """


def export_measure() -> MeasureExport | None:
    """What measures exported models here; None where this installation cannot export."""
    return None


def check_export(bound: ExportBound, *, key: str) -> None:
    """Raises SpecError where no model could be exported so."""
    if export_measure() is None:
        raise SpecError("this installation cannot export models; leave the condition out", key=key)


def judge_export(
    bound: ExportBound, measure: MeasureExport, bundle: Bundle, samples: Mapping[str, Any]
) -> list[Finding]:
    """A finding for each bound that is given.

    Raises:
        UsageError: the model cannot be exported to the form.
    """
    found = measure(bundle, bound.format, samples)
    p50_ms = None if bound.p50 is None else float(bound.p50.milliseconds)
    p99_ms = None if bound.p99 is None else float(bound.p99.milliseconds)
    rows = (
        ("parity", found.parity, bound.parity, "largest difference of an output", ""),
        ("p50_ms", found.p50_ms, p50_ms, "median latency", " ms"),
        ("p99_ms", found.p99_ms, p99_ms, "99th percentile of the latency", " ms"),
        ("size_bytes", found.size_bytes, None if bound.size is None else bound.size.bytes, "size", " bytes"),
    )
    every: dict[str, Any] = {name: value for name, value, *_ in rows}
    findings = []
    for name, value, most, what, unit in rows:
        if most is None:
            continue
        held = bool(value <= most)
        reason = f"{bound.format}: {what} {value:.6g}{unit} is {'' if held else 'not '}at most {most:.6g}{unit}"
        figures = {"format": bound.format, "bound": name, "wanted": most, "n": _count(samples)} | every
        findings.append(Finding(held=held, reason=reason, figures=figures))
    return findings


def _count(samples: Mapping[str, Any]) -> int:
    return len(next(iter(samples.values()), ()))
