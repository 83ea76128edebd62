"""`forgeline plan`: what a job would do, need and cost, without doing it."""

from __future__ import annotations

from typing import Annotated

import typer

from forgeline.cli.render import Format, FormatOption, show_json, show_pairs, show_rows
from forgeline.cli.run import SetOption, SpecArgument


def plan(
    spec: SpecArgument,
    set_: SetOption = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="GPU to plan for, such as H100; else what is here.")
    ] = None,
    throughput: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Samples a second of all workers together; else what was measured."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Tell what a job would do, need and cost; nothing is started or written, and no cluster is asked."""
    from forgeline import api

    told = api.plan(spec, set=set_ or (), gpu=gpu, throughput=throughput)
    if form is Format.JSON:
        show_json(told.data)
        return
    show_pairs(told.facts)
    for table in told.tables:
        print(f"\n{table.title}")
        show_rows(table.rows, table.columns, form=form, empty="nothing")
    if told.notes:
        print()
    for note in told.notes:
        print(f"- {note}")
