"""The kind `predict`: checked in the command's process, predicted in a Ray task."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import SpecError
from forgeline_jobs.predict.spec import PredictSpec
from forgeline_jobs.remote import run_task

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext


class PredictKind:
    """Predicts files."""

    def check(self, spec: PredictSpec) -> None:
        """Find the model, the input with its columns, and a place to write to.

        Raises:
            NotFound: no such model.
            SpecError: the input cannot be read, or the output not be written.
        """
        from forgeline.bundle import Bundle
        from forgeline.bundle.tables import TableFile, is_table

        bundle = Bundle.load(spec.model)
        place = Path(spec.input)
        if not place.exists():
            raise SpecError(f"{spec.input!r} does not exist; give a file or a folder", key="input")
        if bundle.preprocessing.kind == "table" and is_table(place):
            table = TableFile(place, key="input")
            table.require([column["name"] for column in bundle.schema["inputs"]], key="input")
            table.require(spec.keep, key="keep")
        elif spec.keep:
            raise SpecError(f"got {list(spec.keep)}; only the columns of a table can be carried over", key="keep")
        self._check_output(Path(spec.output), overwrite=spec.overwrite)

    @staticmethod
    def _check_output(target: Path, *, overwrite: bool) -> None:
        if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
            raise SpecError(f"cannot write to {str(target.parent)!r}; make the folder, or change output", key="output")
        if target.exists() and not overwrite:
            raise SpecError(f"{str(target)!r} is there already; set overwrite: true, or change output", key="output")

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Predict, and write the file."""
        from forgeline.bundle import Bundle
        from forgeline_jobs.predict.writing import Task

        spec = cast(PredictSpec, context.spec)
        task = Task(
            bundle=str(Bundle.load(spec.model).folder),
            input=spec.input,
            output=spec.output,
            keep=spec.keep,
            batch_size=spec.batch_size,
            device="cuda" if spec.resources.gpus_per_worker else "cpu",
        )
        return run_task(context, write_task, asdict(task))


def write_task(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in the Ray worker."""
    from forgeline_jobs.predict.writing import Task, write

    return write(Task(**task))
