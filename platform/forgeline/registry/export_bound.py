"""Bounds on an exported model: what it weighs, how long it takes, and how far its outputs are from the module's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from forgeline.errors import SpecError
from forgeline.export.formats import ExportFormat
from forgeline.registry.conditions import ExportBound
from forgeline.registry.judging import Finding
from forgeline.suggestions import did_you_mean

Arrays = Mapping[str, NDArray[Any]]

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

    def __call__(
        self, bundle: Bundle, format: str, samples: Arrays, targets: NDArray[Any] | None = None
    ) -> ExportFigures:
        """Measure a bundle's exported form.

        Args:
            bundle: the trained model.
            format: such as `onnx`.
            samples: encoded inputs by name.
            targets: of the samples.

        Raises:
            UsageError: there is no such form, or the model cannot be exported to it.
        """


def check_export(bound: ExportBound, *, key: str) -> None:
    """Raises SpecError where no model could be exported so."""
    formats = [str(form) for form in ExportFormat if form is not ExportFormat.SAFETENSORS]
    if bound.format not in formats:
        raise SpecError(f"got {bound.format!r}; {did_you_mean(bound.format, formats)}", key=f"{key}.format")
    if bound.format == ExportFormat.INT8_STATIC:
        raise SpecError(
            f"got {bound.format}, which needs samples to calibrate by; a gate has none: take int8-dynamic",
            key=f"{key}.format",
        )


def judge_export(
    bound: ExportBound, measure: MeasureExport, bundle: Bundle, samples: Arrays, targets: NDArray[Any] | None = None
) -> list[Finding]:
    """A finding for each bound that is given.

    Raises:
        UsageError: the model cannot be exported to the form.
    """
    found = measure(bundle, bound.format, samples, targets)
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


def _count(samples: Arrays) -> int:
    return len(next(iter(samples.values()), ()))
