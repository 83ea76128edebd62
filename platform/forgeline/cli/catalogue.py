"""`forgeline architectures` and `forgeline data`: what a spec can name, from the plug-ins' own descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, cast

import typer

from forgeline import plugins
from forgeline.cli import completion
from forgeline.cli.commands import SuggestingGroup
from forgeline.cli.keys import as_yaml, keys_of
from forgeline.cli.render import Format, FormatOption, amount, show_json, show_pairs, show_rows

architectures = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)
data = typer.Typer(cls=SuggestingGroup, no_args_is_help=True)

_FIGURES = ("parameters", "multiply_adds", "memory_bytes", "samples_per_s")

ArchitectureArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Its name, as in a spec, or its family.", autocompletion=completion.architectures
    ),
]
DataArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name, as in a spec.", autocompletion=completion.data)
]


@architectures.command("list")
def list_architectures(form: FormatOption = Format.TABLE) -> None:
    """List the families of architectures."""
    rows = [_architecture(plugin) for plugin in plugins.descriptors(plugins.ARCHITECTURES)]
    if form is Format.TABLE:
        rows = [row | _readable(row) for row in rows]
        rows = [row | {"memory": row["memory_bytes"], "samples/s": row["samples_per_s"]} for row in rows]
    # Without `help`, which `show` tells: a table of 120 columns has no room for a sentence.
    columns = ["name", "family", "tasks", "inputs", "parameters", "multiply_adds", "memory", "samples/s"]
    show_rows(rows, columns, form=form, empty="no architecture is installed")


@architectures.command("show")
def show_architecture(name: ArchitectureArgument, form: FormatOption = Format.TABLE) -> None:
    """Show one architecture or family: its paper, when to use it, its settings."""
    family = next((each for each in plugins.descriptors(plugins.ARCHITECTURES) if each.name == name), None)
    found = family or plugins.find(plugins.ARCHITECTURES, name, key="name")
    plugin = cast("plugins.ArchitectureDescriptor", found)
    row = {
        **_described(plugin),
        **asdict(plugin.description(name)),
        "measured": [asdict(each) for each in plugin.measurements() if family or each.model == name],
    }
    _show(row | {"settings": keys_of(plugin.config_model())}, form)


@data.command("list")
def list_data(form: FormatOption = Format.TABLE) -> None:
    """List the built-in data sets and the readers of your own data."""
    rows = [_data(plugin) for plugin in plugins.descriptors(plugins.DATA)]
    show_rows(rows, ["name", "modality", "tasks", "help"], form=form, empty="no data source is installed")


@data.command("show")
def show_data(name: DataArgument, form: FormatOption = Format.TABLE) -> None:
    """Show one data source and its settings."""
    plugin = cast("plugins.DataDescriptor", plugins.find(plugins.DATA, name, key="name"))
    _show(_data(plugin) | {"settings": keys_of(plugin.config_model())}, form)


def _architecture(plugin: Any) -> dict[str, Any]:
    """A family, with what its first model costs: one that a spec of the zoo trains, or a published one."""
    measured = [asdict(each) for each in plugin.measurements()]
    first = next((each for each in measured if each["spec"]), measured[0] if measured else {})
    return {
        **_described(plugin),
        **{key: first.get(key) for key in _FIGURES},
        "measured_as": first.get("spec") or first.get("model"),
    }


def _readable(row: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a row as a table has them: `23.1 k`, `16.9 MB`."""
    return {key: amount(row[key], unit="B" if key == "memory_bytes" else "") for key in _FIGURES if key in row}


def _described(plugin: Any) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "family": plugin.family,
        "tasks": plugin.tasks,
        "inputs": plugin.inputs,
        "help": plugin.help,
    }


def _data(plugin: Any) -> dict[str, Any]:
    return {"name": plugin.name, "modality": plugin.modality, "tasks": plugin.tasks, "help": plugin.help}


def _show(row: dict[str, Any], form: Format) -> None:
    if form is Format.JSON:
        show_json(row)
        return
    measured = row.pop("measured", [])
    settings = [
        key | {"default": "required" if key["required"] else "" if key["type"] == "block" else as_yaml(key["default"])}
        for key in row.pop("settings")
    ]
    show_pairs([(name.replace("_", " "), value) for name, value in row.items()])
    if measured:
        print()
        rows = [each | _readable(each) for each in measured]
        show_rows(rows, ["model", "inputs", *_FIGURES, "spec"], form=form, empty="")
    print()
    show_rows(settings, ["key", "type", "default", "meaning"], form=form, empty="it has no settings")
