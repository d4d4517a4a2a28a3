"""The command line as a whole: global options, errors as messages, exit statuses."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer

from harness import __version__
from harness.cli import bench, cache, config, doctor, faults, images, ssh, testbeds
from harness.cli.ending import Ended, ending_politely
from harness.cli.plain import App, PlainGroup
from harness.errors import HarnessError, defects
from harness.typed import as_typed

STATUS_BROKEN = 2


class Commands(PlainGroup):
    """Turns what went wrong into one message and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with ending_politely():
                return super().invoke(ctx)
        except Ended as ended:
            sys.stderr.write(f"pathproof: {ended}\n")
            raise typer.Exit(ended.status) from None
        except (HarnessError, OSError, BaseExceptionGroup) as error:  # raised, if unforeseen
            messages = explain(error)
            if isinstance(error, BrokenPipeError) or messages is None:
                raise
            if ctx.params.get("verbose"):
                traceback.print_exception(error)
            for message in messages:
                sys.stderr.write(f"pathproof: {as_typed(message)}\n")
            raise typer.Exit(STATUS_BROKEN) from None


def explain(error: BaseException) -> list[str] | None:
    """The lines that explain an error; None for an unforeseen one, a defect of this program."""
    if defects(error):
        return None
    if isinstance(error, BaseExceptionGroup):
        found: list[str] = []
        for inner in error.exceptions:
            messages = explain(inner)
            if messages is None:
                return None
            found += messages
        return found
    if isinstance(error, HarnessError):
        return [str(error)]
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return [f"{where}{error.strerror}\nhint: `pathproof --verbose …` shows where it happened"]
    return None


app = App(
    name="pathproof",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Proves or refutes that losing a storage path costs nothing but a short pause. "
    "The tests themselves are run by `pytest suites/failover`.",
    epilog="Exit status: 0 done; 1 this machine is not able to (doctor), or not as promised "
    "(bench stall, bench overhead, bench clean); 2 wrong usage, or something broke, and the "
    "message says what; 130 interrupted, everything removed.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pathproof {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", metavar="", help="Show where an error happened.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", metavar="", help="No progress, only results and errors."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None: ...


app.command("doctor")(doctor.doctor)
app.command("up")(testbeds.up)
app.command("ps")(testbeds.ps)
app.command("ssh", context_settings={"allow_interspersed_args": False})(ssh.ssh)
app.command("down")(testbeds.down)
app.command("reap")(testbeds.reap)
app.command("config")(config.config)
app.command("faults")(faults.faults)
app.add_typer(images.app, name="images")
app.add_typer(cache.app, name="cache")
app.add_typer(bench.app, name="bench")
