"""`pathproof bench`: what this machine and Pathproof itself take; each subcommand has its file."""

from harness.cli.bench.clean import clean as _clean
from harness.cli.bench.density import density as _density
from harness.cli.bench.overhead import overhead as _overhead
from harness.cli.bench.power import power as _power
from harness.cli.bench.provision import provision as _provision
from harness.cli.bench.schedule import schedule as _schedule
from harness.cli.bench.stall import stall as _stall
from harness.cli.plain import App

app = App(help="Measure this machine, and Pathproof itself.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure this machine, and Pathproof itself."""


for command in (_provision, _density, _schedule, _stall, _overhead, _clean, _power):
    app.command(command.__name__)(command)
