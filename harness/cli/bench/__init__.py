"""`pathproof bench`: what this machine and Pathproof itself take; each subcommand has its file."""

import typer

from harness.cli.bench.clean import clean
from harness.cli.bench.density import density
from harness.cli.bench.overhead import overhead
from harness.cli.bench.provision import provision
from harness.cli.bench.schedule import schedule
from harness.cli.bench.stall import stall

app = typer.Typer(help="Measure this machine, and Pathproof itself.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure this machine, and Pathproof itself."""


for command in (provision, density, schedule, stall, overhead, clean):
    app.command(command.__name__)(command)
