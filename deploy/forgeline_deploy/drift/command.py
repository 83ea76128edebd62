"""`forgeline drift`: a file of new rows against the statistics that a model carries of its training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.predict import ModelReferenceArgument, load_model
from forgeline.cli.render import Format, FormatOption, show_json, show_rows
from forgeline.errors import UsageError

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline_deploy.drift.report import DriftReport, FeatureDrift

DRIFTED = 105
"""Exit code for drift: neither a success nor an error, so that a script can tell it from both."""

app = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)


@app.callback()
def root() -> None:
    """Hold new rows against what a model was trained on."""


@app.command("check")
def check(
    model: ModelReferenceArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="File or folder, as `forgeline predict` takes it.")],
    false_discoveries: Annotated[
        float, typer.Option(metavar="RATE", help="Rate of false ones among the features that count as drifted.")
    ] = 0.05,
    outputs: Annotated[
        bool, typer.Option("--outputs/--no-outputs", help="Also predict, and compare what comes out.")
    ] = True,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compare new data with those that a model was trained on, feature by feature.

    Exit codes: 0 no drift, 105 drift, 1 platform error, 2 wrong data or usage, 102 no such model.
    """
    from forgeline_deploy.drift.report import check_data

    if not 0 < false_discoveries < 1:
        raise UsageError(f"--false-discoveries is {false_discoveries:g}; allowed: between 0 and 1, such as 0.05")
    bundle = load_model(model)
    report = check_data(bundle, data, false_discoveries=false_discoveries, outputs=outputs)
    if form is Format.JSON:
        show_json(_details(report, bundle, data))
    else:
        _show(report)
    raise typer.Exit(DRIFTED if report.drifted else 0)


@app.command("report")
def report(
    model: ModelReferenceArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="File or folder, as `forgeline predict` takes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="File to write.")],
    rows: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Rows that it was trained on: rows are compared, and not counts in bins."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --output if it is there.")
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write Evidently's report on new data, for people; whether there is drift is for `drift check` to say."""
    from forgeline_deploy.monitor.human_report import write_report
    from forgeline_deploy.monitor.reporting import sides_of_file

    check_output(output, overwrite=overwrite)
    bundle = load_model(model)
    sides = sides_of_file(bundle, data, trained_on=rows)
    write_report(sides, output, title=f"{data.name} against what {model} was trained on")
    told = {
        "output": str(output),
        "digest": bundle.digest,
        "compared": "counts" if rows is None else "rows",
        "columns": [*sides.numeric, *sides.categorical],
    }
    if form is Format.JSON:
        show_json(told)
    else:
        print(f"wrote {output}: {len(told['columns'])} columns, compared by {told['compared']}")


def check_output(path: Path, *, overwrite: bool) -> None:
    """Whether an HTML file can be written.

    Raises:
        UsageError: its name is of no HTML, it is there already, or its folder is not.
    """
    if path.suffix.lower() != ".html":
        raise UsageError(f"--output: got {path.name!r}; allowed: a name that ends in .html")
    if not path.parent.is_dir():
        raise UsageError(f"--output: there is no folder {str(path.parent)!r}; make it, or give another file")
    if path.exists() and not overwrite:
        raise UsageError(f"--output: {str(path)!r} is there already; give another file, or --overwrite")


def _details(report: DriftReport, bundle: Bundle, data: Path) -> dict[str, Any]:
    return {
        "model": str(bundle.folder),
        "digest": bundle.digest,
        "data": str(data),
        "rows": report.rows,
        "reference_rows": report.reference_rows,
        "false_discoveries": report.false_discoveries,
        "drifted": list(report.drifted),
        "features": [feature.row() for feature in report.features],
    }


def _show(report: DriftReport) -> None:
    columns = ["feature", "kind", "values", "nulls", "outside", "distance", "by_chance", "shift", "p", "adjusted_p"]
    rows = [_for_screen(feature) for feature in report.features]
    show_rows(rows, [*columns, "drifted"], form=Format.TABLE, empty="the model reads nothing that could drift")
    drifted, rate = report.drifted, f"{report.false_discoveries:g}"
    listed = f": {', '.join(drifted)}" if drifted else ""
    print(
        f"\n{len(drifted)} of {len(report.features)} features drifted at a false discovery rate of {rate}{listed}; "
        f"{report.rows:,} rows against {report.reference_rows:,} of the training"
    )


def _for_screen(feature: FeatureDrift) -> dict[str, Any]:
    found = feature.found
    shift = "" if found.shift_std is None else f"{found.shift_std:+.2f} std"
    return {
        "feature": feature.feature if feature.role == "input" else f"{feature.feature} (output)",
        "kind": feature.kind,
        "values": feature.values,
        "nulls": _change(found.reference_nulls, found.nulls),
        "outside": _percent(found.outside),
        "distance": f"{found.distance:.3f}",
        "by_chance": f"{found.by_chance:.3f}",
        "shift": shift,
        "p": f"{found.p:.2g}",
        "adjusted_p": f"{feature.adjusted_p:.2g}",
        "drifted": feature.drifted,
    }


def _change(reference: float, window: float) -> str:
    """The two shares, or one where they look the same."""
    before, after = _percent(reference), _percent(window)
    return after if before == after else f"{before} -> {after}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
