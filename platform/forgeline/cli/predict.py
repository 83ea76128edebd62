"""`forgeline predict`: the same code as `Bundle.predict`, from a file to a table or a file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgeline.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


class PredictionFormat(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


_SUFFIXES = {".csv": PredictionFormat.CSV, ".json": PredictionFormat.JSON, ".parquet": PredictionFormat.PARQUET}


def predict(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, models:/NAME/VERSION, runs:/RUN or a folder.")],
    file: Annotated[
        Path | None, typer.Argument(help="Image, folder of images, CSV, Parquet, text, JSONL or .npz.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that a language model continues.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; its suffix is the format.")
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
    chosen = form or _format_of(output)
    if chosen is PredictionFormat.PARQUET and output is None:
        raise UsageError("--format parquet needs --output FILE")
    if file is not None and not file.exists():
        raise UsageError(f"FILE: {file} does not exist")
    from forgeline.bundle import Bundle

    bundle = Bundle.load(model)
    if prompt is not None:
        text = bundle.generate(
            [prompt], max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )[0]
        _write_text(text, output)
        return
    assert file is not None
    _write_table(bundle.predict(file, batch_size=batch_size), chosen, output)


def _format_of(output: Path | None) -> PredictionFormat:
    if output is None:
        return PredictionFormat.TABLE
    if output.suffix not in _SUFFIXES:
        raise UsageError(f"--output: {output.name} ends in none of {', '.join(_SUFFIXES)}; or give --format")
    return _SUFFIXES[output.suffix]


def _write_text(text: str, output: Path | None) -> None:
    if output is None:
        print(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: cannot write {output} ({error.strerror})") from error


def _write_table(frame: pd.DataFrame, form: PredictionFormat, output: Path | None) -> None:
    target = output if output is not None else sys.stdout
    try:
        if form is PredictionFormat.PARQUET:
            assert output is not None
            frame.to_parquet(output)
        elif form is PredictionFormat.CSV:
            frame.to_csv(target, index=False)
        elif form is PredictionFormat.JSON:
            frame.to_json(target, orient="records", indent=2)
            print(file=None if output is None else sys.stderr)
        else:
            _write_text(frame.to_string(), output)
    except BrokenPipeError:
        raise  # whoever read the output has enough of it; that is no error
    except OSError as error:
        raise UsageError(f"--output: cannot write {output} ({error.strerror})") from error
    if output is not None:
        print(f"wrote {len(frame)} predictions to {output}", file=sys.stderr)
