"""Commands that other packages add, through the entry point group `forgeline.commands`.

`forgeline --help` reads the light descriptor only; what the command itself imports is paid for when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from forgeline import plugins
from forgeline.suggestions import nearest


@dataclass(frozen=True, kw_only=True)
class CommandDescriptor:
    """The light face of a command.

    Attributes:
        name: what the user types after `forgeline`.
        help: one line for `forgeline --help`.
        command: `package.module:object` of a `typer.Typer` or of a function.
    """

    name: str
    help: str
    command: str

    def load(self) -> Any:
        """The command as Typer runs it, imported now."""
        target = plugins.load_object(self.command)
        if isinstance(target, typer.Typer):
            return typer.main.get_command(target)
        single = typer.Typer(add_completion=False)
        single.command(name=self.name, help=self.help)(cast("Callable[..., Any]", target))
        return typer.main.get_command(single)


class PluginGroup(TyperGroup):
    """The root command: our own commands, then those of plug-ins, with a did-you-mean over both."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + [name for name in plugins.names(plugins.COMMANDS) if name not in own]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in plugins.names(plugins.COMMANDS):
            return own
        found = cast(CommandDescriptor, plugins.descriptor(plugins.COMMANDS, cmd_name))
        return TyperCommand(name=found.name, help=found.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if super().get_command(ctx, name) is None and name in plugins.names(plugins.COMMANDS):
            found = cast(CommandDescriptor, plugins.descriptor(plugins.COMMANDS, name))
            return name, found.load(), args[1:]
        return resolve(self, ctx, args, super().resolve_command)


class SuggestingGroup(TyperGroup):
    """A group of commands with the same did-you-mean as the root."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return resolve(self, ctx, args, super().resolve_command)


def resolve(group: TyperGroup, ctx: Any, args: list[str], otherwise: Callable[[Any, list[str]], Any]) -> Any:
    """Find the command, or fail with the nearest one there is."""
    name = args[0]
    if name.startswith("-") or group.get_command(ctx, name) is not None:
        return otherwise(ctx, args)
    known = group.list_commands(ctx)
    meant = nearest(name, known)
    hint = f"did you mean `{ctx.command_path} {meant}`?" if meant else f"known: {', '.join(known)}"
    ctx.fail(f"unknown command {name!r}; {hint}")
