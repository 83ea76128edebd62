"""`forgeline schema KIND`: the JSON Schema that lets an editor complete and check the YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forgeline.cli import completion
from forgeline.errors import UsageError


def schema(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="The kind of job, such as `train`.", autocompletion=completion.kinds)
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout without it.")] = None,
) -> None:
    """Write the JSON Schema of a kind.

    Put `# yaml-language-server: $schema=train.schema.json` on the first line of a spec to have it checked as you type.
    """
    from forgeline.spec.json_schema import kind_schema

    text = json.dumps(kind_schema(kind), indent=2)
    if output is None:
        print(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: cannot write {output} ({error.strerror})") from error
    print(f"wrote {output}")
