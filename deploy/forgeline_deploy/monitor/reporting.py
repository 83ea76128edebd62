"""What a report for people is made of: a file against a model, or a stored window against its reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.bundle.observer import check_observable
from forgeline.errors import UsageError
from forgeline_deploy.drift.report import observed
from forgeline_deploy.monitor.human_report import Sides, sides_of_counts, sides_of_rows
from forgeline_deploy.monitor.judging import CHAMPION
from forgeline_deploy.monitor.recorded import Recorded

if TYPE_CHECKING:
    from forgeline.bundle import Bundle


def sides_of_file(bundle: Bundle, data: Path, *, trained_on: Path | None = None) -> Sides:
    """New data against what a model was trained on.

    Args:
        bundle: of the model.
        data: what `forgeline predict` takes.
        trained_on: a table with the rows of the training; without it counts are compared.

    Raises:
        DataError: a file cannot be read, or lacks a column.
        UsageError: rows are wanted of a model that reads no table, or the bundle has no reference statistics.
    """
    if trained_on is None:
        return sides_of_counts(check_observable(bundle), observed(bundle, data))
    if bundle.preprocessing.kind != "table":
        raise UsageError(
            f"--rows: this model reads data of the kind {bundle.preprocessing.kind}, which has no columns to compare; "
            "leave it out: what the reference statistics describe is compared"
        )
    from forgeline.bundle.tables import TableFile

    table = bundle.preprocessing
    for path in (trained_on, data):
        TableFile(path, texts=table.texts).require(table.names)
    return sides_of_rows(
        table.read(trained_on),
        table.read(data),
        numeric=tuple(column.name for column in table.numeric),
        categorical=tuple(column.name for column in table.categorical),
    )


def sides_of_window(recorded: Recorded, number: int) -> tuple[Sides, str]:
    """A stored window of the champion against its reference, and a title.

    Raises:
        NotFound: there is no such window.
        UsageError: the window has no rows of a champion whose version has a reference.
        WindowCorrupted: its file is not as it was stored.
    """
    stored = recorded.window(number)
    window, _ = recorded.folder.read(stored)
    references = recorded.references()
    for stream, part in window.parts.items():
        if stream.role == CHAMPION and stream.version in references and part.tally.observation is not None:
            title = f"{recorded.run.name}, window {number}: {stream}, {part.tally.rows:,} rows"
            return sides_of_counts(references[stream.version], part.tally.observation), title
    raise UsageError(
        f"window {number} of {recorded.run.name} has no rows of a champion with reference statistics; "
        "`forgeline monitor windows` lists what there is"
    )
