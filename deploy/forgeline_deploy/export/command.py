"""`forgeline export`: a model in other forms, in a folder of its own, with a table of what each costs and gives."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli.predict import ModelReferenceArgument, load_model
from forgeline.cli.render import Format, FormatOption, amount, show_json, show_rows
from forgeline.errors import UsageError
from forgeline.export.formats import FILES, ExportFormat, Pruning

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.export import ExportFigures, ExportManifest, Samples


class HeldOut(StrEnum):
    """The split of the training data that a model is measured on."""

    VAL = "val"
    TEST = "test"


def export(
    model: ModelReferenceArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write; made anew.")],
    forms: Annotated[list[ExportFormat] | None, typer.Option("--to", help="Form to export to; repeatable.")] = None,
    prune: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Weights of each layer to make zero first, such as 50%.")
    ] = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="With --prune: remove whole channels, so that tensors get smaller.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Held-out samples, instead of those of the training data.")
    ] = None,
    split: Annotated[HeldOut, typer.Option(help="Split of the training data to measure on.")] = HeldOut.TEST,
    samples: Annotated[int, typer.Option(min=1, help="Samples to measure on, at most.")] = 1000,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Samples for int8-static, instead of those that the model was trained on."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure what was exported.")] = True,
    repetitions: Annotated[int, typer.Option(min=1, help="Calls of each latency.")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute while it is measured.")] = 1,
    form: FormatOption = Format.TABLE,
) -> None:
    """Export a model, and measure it before and after.

    Exit codes: 0 all forms were written, 2 wrong usage, or a form that the model cannot be exported to (the others are
    written, and the reason is told), 1 platform error, 102 no such model.
    """
    from forgeline.export import NotExportable, export_model

    chosen = forms or [ExportFormat.ONNX]
    pruning = _pruning(prune, channels=channels)
    bundle = load_model(model)
    held_out, calibration = _samples(bundle, chosen, data, split, samples, calibrate, measured=measure)
    refused: dict[str, str] = {}
    manifest = export_model(
        bundle,
        output,
        chosen,
        samples=held_out.arrays if held_out else None,
        calibration=calibration.arrays if calibration else None,
        pruning=pruning,
        refused=refused,
    )
    figures = _measured(bundle, output, manifest, held_out, repetitions, threads) if measure and held_out else []
    if form is Format.JSON:
        show_json(_details(output, manifest, held_out, figures, refused))
    else:
        _show(output, manifest, held_out, figures)
    if refused:
        raise NotExportable("\n".join(dict.fromkeys(refused.values())))


def _pruning(share: str | None, *, channels: bool) -> Pruning | None:
    if share is None:
        if channels:
            raise UsageError("--channels says how to prune; give --prune SHARE as well, such as --prune 50%")
        return None
    text = share.strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"--prune: {share!r} is no share; allowed: such as 50% or 0.5") from None
    return Pruning(share=number, channels=channels)


def _samples(
    bundle: Bundle,
    forms: list[ExportFormat],
    data: Path | None,
    split: HeldOut,
    most: int,
    calibrate: Path | None,
    *,
    measured: bool,
) -> tuple[Samples | None, Samples | None]:
    """Held-out samples, and those to calibrate with; nothing that no form needs is prepared."""
    from forgeline.export import TrainingData, samples_of_file
    from forgeline.export.forward import OUTPUTS
    from forgeline.export.quantisation import CALIBRATION_SAMPLES

    graphs = [form for form in forms if form in FILES]
    if not graphs or bundle.task not in OUTPUTS:
        return None, None
    statically = ExportFormat.INT8_STATIC in forms
    trained_on = TrainingData(bundle) if data is None or (statically and calibrate is None) else None
    most = most if measured else min(most, 32)
    held_out = samples_of_file(bundle, data, most) if data is not None else None
    calibration = None
    if statically and calibrate is not None:
        calibration = samples_of_file(bundle, calibrate, CALIBRATION_SAMPLES)
    if trained_on is not None:
        held_out = held_out or trained_on.split(str(split), most)
        if statically:
            calibration = calibration or trained_on.split("train", CALIBRATION_SAMPLES)
    return held_out, calibration


def _measured(
    bundle: Bundle, folder: Path, manifest: ExportManifest, held_out: Samples, repetitions: int, threads: int
) -> list[ExportFigures]:
    from forgeline.export import load_exported, measure_exported, measure_original

    how: dict[str, Any] = {"repetitions": repetitions, "threads": threads}
    figures = [measure_original(bundle, held_out.arrays, held_out.targets, **how)]
    for form in manifest.files:
        if form in FILES:
            exported = load_exported(folder, form, threads=threads)
            figures.append(measure_exported(exported, bundle, held_out.arrays, held_out.targets, **how))
    return figures


def _details(
    folder: Path,
    manifest: ExportManifest,
    held_out: Samples | None,
    figures: list[ExportFigures],
    refused: dict[str, str],
) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "bundle": manifest.bundle,
        "files": dict(manifest.files),
        "pruned": manifest.pruned.model_dump() if manifest.pruned else None,
        "measured_on": held_out.name if held_out and figures else None,
        "figures": [figure.row() for figure in figures],
        "refused": refused,
    }


def _show(folder: Path, manifest: ExportManifest, held_out: Samples | None, figures: list[ExportFigures]) -> None:
    if figures and held_out is not None:
        batch = figures[0].batch
        columns = ["form", "size", "p50", "p99"]
        columns += [f"p50 of {batch}", f"p99 of {batch}"] if batch else []
        columns += ["parity", *([figures[0].metric] if figures[0].metric else [])]
        show_rows([_for_screen(figure) for figure in figures], columns, form=Format.TABLE, empty="")
        threads = f"{figures[0].threads} thread{'s' if figures[0].threads > 1 else ''}"
        print(f"\nmeasured on {held_out.name}, with {threads}, up to {figures[0].repetitions} calls each")
    print(f"wrote {', '.join(sorted(manifest.files.values()))} to {folder}", file=sys.stderr)


def _for_screen(figure: ExportFigures) -> dict[str, Any]:
    row = {
        "form": figure.format,
        "size": amount(figure.size_bytes, unit="B"),
        "p50": _ms(figure.p50_ms),
        "p99": _ms(figure.p99_ms),
        f"p50 of {figure.batch}": _ms(figure.batch_p50_ms),
        f"p99 of {figure.batch}": _ms(figure.batch_p99_ms),
        "parity": f"{figure.parity:.2g}",
    }
    return row if figure.metric is None else {**row, figure.metric: figure.value}


def _ms(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.3g} ms"
