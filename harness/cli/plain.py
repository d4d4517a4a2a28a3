"""Typer's commands, whose `--help` shows no value where none is to be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """Of `--help` itself Typer would show `<bool>`, which looks like a value to give."""

    def get_help_option(self, ctx: Any) -> Any:
        return _plain(super().get_help_option(ctx))


class PlainGroup(TyperGroup):
    """The same for a group of commands."""

    def get_help_option(self, ctx: Any) -> Any:
        return _plain(super().get_help_option(ctx))


class App(typer.Typer):
    """A group of such commands; `more` is for Typer."""

    def __init__(self, *, cls: type[PlainGroup] = PlainGroup, **more: Any) -> None:
        super().__init__(cls=cls, **more)

    def command(self, name: str | None = None, **more: Any) -> Callable[..., Any]:
        return super().command(name, cls=PlainCommand, **more)


def _plain(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option
