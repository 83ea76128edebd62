"""`forgeline predict`: the same code as `Bundle.predict`, from a file to a table or a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from forgeline.cli import completion
from forgeline.errors import NotFound, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from forgeline.bundle import Bundle


class PredictionFormat(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


ModelReferenceArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="models:/NAME@ALIAS, models:/NAME/VERSION, runs:/RUN or a folder.",
        autocompletion=completion.model_references,
    ),
]
"""The model that a command loads, with `load_model`."""

_SUFFIXES = {".csv": PredictionFormat.CSV, ".json": PredictionFormat.JSON, ".parquet": PredictionFormat.PARQUET}


def predict(
    model: ModelReferenceArgument,
    file: Annotated[
        Path | None, typer.Argument(help="Image, folder of images, CSV, Parquet, text, JSONL or .npz.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that a language model continues.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; its suffix is the format.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --output if it is there.")
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column of the input to carry over; repeatable.")
    ] = None,
    form: Annotated[PredictionFormat | None, typer.Option("--format", help="Format of what is written.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows predicted at a time.")] = 256,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate after --prompt.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Choose among this many tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Choose within this share of probability.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated text.")] = 0,
) -> None:
    """Predict with a registered model or a bundle."""
    if (file is None) == (prompt is None):
        raise UsageError("give a FILE to predict, or --prompt TEXT for a language model, and not both")
    chosen = form or format_of(output)
    if chosen is PredictionFormat.PARQUET and output is None:
        raise UsageError("--format parquet needs --output FILE")
    if file is not None and not file.exists():
        raise UsageError(f"FILE: {file} does not exist")
    if prompt is not None and keep:
        raise UsageError("--keep carries over columns of a FILE; leave it out with --prompt")
    if output is not None:
        check_output(output, file, overwrite=overwrite)
    bundle = load_model(model)
    if prompt is not None:
        text = bundle.generate(
            [prompt], max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )[0]
        _write_text(text, output)
        return
    assert file is not None
    if keep:
        table = _predict_keeping(bundle, file, keep, batch_size=batch_size)
    else:
        table = bundle.predict(file, batch_size=batch_size)
    write_table(table, chosen, output)


def check_output(output: Path, file: Path | None, *, overwrite: bool) -> None:
    """Refuse, before anything is computed, what could not be written or must not be lost."""
    if not output.parent.is_dir():
        raise UsageError(f"--output: the folder {str(output.parent)!r} does not exist; make it, or change --output")
    if output.is_dir():
        raise UsageError(f"--output: {str(output)!r} is a folder; give the name of a file")
    if not output.exists():
        return
    if file is not None and output.samefile(file):
        raise UsageError(f"--output: {str(output)!r} is the input as well; change --output")
    if not overwrite:
        raise UsageError(f"--output: {str(output)!r} is there already; add --overwrite, or change --output")


def load_model(model: str) -> Bundle:
    """The model; the plain name of a registered one is answered with how it is named."""
    from forgeline.bundle import Bundle

    if not re.search("[/:]", model) and not Path(model).exists():
        from forgeline.registry.models import open_registry

        versions = open_registry().list_models().get(model)
        if versions:
            alias = next((alias for version in reversed(versions) for alias in version.aliases), None)
            name = f"models:/{model}@{alias}" if alias is not None else f"models:/{model}/{versions[-1].version}"
            raise NotFound(f"MODEL: no folder {model!r}; did you mean the registered model `{name}`?")
    return Bundle.load(model)


def _predict_keeping(bundle: Bundle, file: Path, keep: list[str], *, batch_size: int) -> pd.DataFrame:
    import pyarrow as pa

    from forgeline.bundle.carrying import check_kept, predict_file

    check_kept(bundle, file, keep, key="--keep")
    frame: pd.DataFrame = pa.concat_tables(predict_file(bundle, file, keep=keep, batch_size=batch_size)).to_pandas()
    return frame


def format_of(output: Path | None) -> PredictionFormat:
    """The format that a file's suffix asks for; a table for the terminal.

    Raises:
        UsageError: the suffix stands for none.
    """
    if output is None:
        return PredictionFormat.TABLE
    if output.suffix not in _SUFFIXES:
        raise UsageError(f"--output: {output.name} ends in none of {', '.join(_SUFFIXES)}; or give --format")
    return _SUFFIXES[output.suffix]


def _write_text(text: str, output: Path | None) -> None:
    if output is None:
        print(text)
        return
    with _whole(output) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_table(frame: pd.DataFrame, form: PredictionFormat, output: Path | None, *, what: str = "predictions") -> None:
    """Write to a file, whole or not at all, or to the terminal, in a form that people or scripts read."""
    if output is None:
        _write(frame, form, sys.stdout)
        return
    with _whole(output) as partial:
        _write(frame, form, partial)
    print(f"wrote {len(frame)} {what} to {output}", file=sys.stderr)


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A file to write that takes the output's place at the end: a full disk leaves what was there."""
    device = output.exists() and not output.is_file()  # /dev/stdout has no place to take
    partial = output if device else output.with_name(f".{output.name}.part")
    try:
        yield partial
        if not device:
            partial.replace(output)
    except OSError as error:
        if not device:
            partial.unlink(missing_ok=True)
        raise UsageError(f"--output: cannot write {output} ({error.strerror})") from error


def _write(frame: pd.DataFrame, form: PredictionFormat, target: Path | TextIO) -> None:
    if form is PredictionFormat.PARQUET:
        assert isinstance(target, Path)
        frame.to_parquet(target)
    elif form is PredictionFormat.CSV:
        frame.to_csv(target, index=False)
    else:
        as_json = form is PredictionFormat.JSON
        text = (frame.to_json(orient="records", indent=2) if as_json else frame.to_string()) + "\n"
        target.write_text(text, encoding="utf-8") if isinstance(target, Path) else target.write(text)
