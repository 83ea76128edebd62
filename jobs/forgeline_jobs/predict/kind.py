"""The kind `predict`: checked in the command's process, predicted in a Ray task."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import DataError, SpecError
from forgeline_jobs.predict.spec import PredictSpec
from forgeline_jobs.remote import run_task

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.launching.context import RunContext

_CHECKED_ROWS = 100


class PredictKind:
    """Predicts files."""

    def check(self, spec: PredictSpec) -> None:
        """Find the model, the input with its columns, and a place to write to.

        Raises:
            NotFound: no such model.
            SpecError: the input cannot be read, or the output not be written.
        """
        from forgeline.bundle import Bundle
        from forgeline.bundle.carrying import check_kept

        bundle = Bundle.load(spec.model)
        self._check_output(spec)
        try:
            self._check_input(bundle, Path(spec.input))
        except DataError as error:
            raise DataError(error.message, key="input") from error
        check_kept(bundle, Path(spec.input), spec.keep, key="keep")

    @staticmethod
    def _check_input(bundle: Bundle, place: Path) -> None:
        """Read the beginning, and encode as much of it as one look needs."""
        from forgeline.bundle.prediction import pieces_of
        from forgeline.bundle.tables import TableFile

        kind = bundle.preprocessing.kind
        beginning: Any
        if kind == "table":
            beginning = TableFile(place).head(_CHECKED_ROWS)
        else:
            piece = next(iter(pieces_of(bundle, place)))
            # A forecast needs a whole window, a graph all its nodes; of images and texts the first one tells enough.
            beginning = piece if kind in {"series", "graph"} else piece[:1]
        bundle.preprocessing.encode(beginning)

    @staticmethod
    def _check_output(spec: PredictSpec) -> None:
        target = Path(spec.output)
        if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
            raise SpecError(f"cannot write to {str(target.parent)!r}; make the folder, or change output", key="output")
        if target.is_dir():
            raise SpecError(f"{str(target)!r} is a folder; give the name of a file", key="output")
        if target.exists() and Path(spec.input).exists() and target.samefile(spec.input):
            raise SpecError(f"{str(target)!r} is the input as well; change output", key="output")
        if target.exists() and not spec.overwrite:
            raise SpecError(f"{str(target)!r} is there already; set overwrite: true, or change output", key="output")

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Predict, and write the file."""
        from forgeline.bundle import Bundle
        from forgeline_jobs.predict.writing import Task

        spec = cast(PredictSpec, context.spec)
        target = Path(spec.output)
        temporary = target.with_name(f".{target.name}.{context.run_id[:8]}")
        task = Task(
            bundle=str(Bundle.load(spec.model).folder),
            input=spec.input,
            output=spec.output,
            temporary=str(temporary),
            keep=spec.keep,
            batch_size=spec.batch_size,
            device="cuda" if spec.resources.gpus_per_worker else "cpu",
        )
        try:
            result = run_task(context, write_task, asdict(task))
        finally:
            # A worker that was killed could not take it away itself.
            temporary.unlink(missing_ok=True)
        context.message(f"wrote {result['rows']:,} predictions to {result['output']}")
        return result


def write_task(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in the Ray worker."""
    from forgeline_jobs.predict.writing import Task, write

    return write(Task(**task))
