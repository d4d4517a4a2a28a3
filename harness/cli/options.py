"""The options that describe a testbed, the same as pytest's, for any command that wants them."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.config import load
from harness.config.overrides import OVERRIDES, Override

NAME = Override("--name", "name", "what to call it")

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]


def configured(*more: Override) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take `--testbed` and the overrides, and receive a `Loaded` first instead."""
    overrides = (*OVERRIDES, *more)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            file = given.pop("testbed")
            options = {
                override.key: (value, override.option)
                for override in overrides
                if (value := given.pop(_parameter(override))) is not None
            }
            command(load(file, options), **given)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [_testbed(), *map(_option, overrides), *list(own)[1:]]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        # typer asks for the signature and for the annotations, each in its own way.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def given(ctx: typer.Context) -> list[str]:
    """`--testbed` and the overrides of a command line, as pytest takes them."""
    options = {"testbed": "--testbed"} | {_parameter(o): o.option for o in OVERRIDES}
    found = ((option, ctx.params.get(name)) for name, option in options.items())
    return [word for option, value in found if value is not None for word in (option, str(value))]


@contextmanager
def telling(ctx: typer.Context) -> Iterator[None]:
    """Show what is being done on standard error, unless `--quiet` was given."""
    if ctx.find_root().params.get("quiet"):
        yield
        return
    from harness.reporting.progress import showing_progress

    with showing_progress(sys.stderr):
        yield


def is_quiet(ctx: typer.Context) -> bool:
    return bool(ctx.find_root().params.get("quiet"))


def _parameter(override: Override) -> str:
    return override.option.removeprefix("--").replace("-", "_")


def _testbed() -> inspect.Parameter:
    text = "Description of the testbed (default: pathproof.toml in this folder, else built-in)."
    option = typer.Option("--testbed", metavar="FILE.toml", help=text)
    return inspect.Parameter(
        "testbed",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Path | None, option],
    )


def _option(override: Override) -> inspect.Parameter:
    option = typer.Option(override.option, metavar="VALUE", help=f"{override.help}.")
    return inspect.Parameter(
        _parameter(override),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )
