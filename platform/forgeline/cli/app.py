"""The root of the command line: its commands, its errors, its exit codes.

Errors that Forgeline raises become `error:` lines on stderr and the exit code of their class; `--debug` (anywhere on
the line) shows the traceback instead.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import forgeline
from forgeline.cli import audit, catalogue, doctor, models, plan, predict, reap, run, runs, sample, schema, ui
from forgeline.cli.commands import PluginGroup
from forgeline.cli.render import discard_output
from forgeline.errors import ForgelineError

app = typer.Typer(
    name="forgeline",
    cls=PluginGroup,
    no_args_is_help=True,
    help="From one YAML file to a trained, tracked and registered model.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command(name="run", help="Run a job.")(run.run)
app.command(name="validate", help="Check a specification without running it.")(run.validate)
app.command(name="plan", help="Tell what a job would need and cost, without running it.")(plan.plan)
app.add_typer(runs.app, name="runs", help="List, show, follow, cancel and compare runs.")
app.command(name="reap", help="Close the runs whose every process died.")(reap.reap)
app.add_typer(models.app, name="models", help="The registry: versions, aliases and their history.")
app.add_typer(audit.app, name="audit", help="Whether the history of aliases is what was written.")
app.command(name="predict", help="Predict with a registered model or a bundle.")(predict.predict)
app.command(name="sample", help="Make samples with a generator.")(sample.sample)
app.add_typer(catalogue.architectures, name="architectures", help="The architectures that can be trained.")
app.add_typer(catalogue.data, name="data", help="The data sets, and the ways to read your own.")
app.command(name="schema", help="JSON Schema of a kind's YAML, for editors.")(schema.schema)
app.command(name="doctor", help="Check this installation.")(doctor.doctor)
app.command(name="ui", help="Open MLflow's own page on the tracking store.")(ui.ui)


def _version(shown: bool) -> None:
    if shown:
        print(f"forgeline {forgeline.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Options of all commands; `main` has looked at --debug already."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script `forgeline`."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in line
    try:
        code = typer.main.get_command(app).main(line, prog_name="forgeline", standalone_mode=False)
    except ForgelineError as error:
        if debug:
            raise
        code = report(str(error), error.exit_code)
    except SystemExit as leaving:
        # `forgeline runs list | head`: the reader has what it wanted, which typer takes for an error.
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        discard_output()
        code = 0
    except Exception as error:
        code = _other(error, debug)
    sys.exit(code if isinstance(code, int) else 0)


def report(message: str, code: int) -> int:
    """Write an error for a person, each of its lines marked; returns the exit code."""
    from rich.text import Text

    from forgeline.cli.render import console

    err = console(stderr=True)
    for line in message.splitlines() or [""]:
        err.print(Text.assemble(("error:", "bold red"), f" {line}"))
    return code


def _other(error: Exception, debug: bool) -> int:
    """Usage errors of the parser (which carry their text and code), and what nobody expected."""
    text: Any = getattr(error, "format_message", None)
    if text is not None and hasattr(error, "exit_code"):
        message = str(text()).strip()
        # Called without arguments a group shows its help, which is no error text.
        if type(error).__name__ == "NoArgsIsHelpError":
            print(message)
            return int(error.exit_code)
        return report(message or type(error).__name__, int(error.exit_code))
    if debug:
        raise error
    return report(f"{type(error).__name__}: {error}; --debug shows where", 1)


if __name__ == "__main__":
    main()
