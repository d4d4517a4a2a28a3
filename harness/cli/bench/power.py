"""`pathproof bench power`: how sure damage to what was written is found, by simulation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Json
from harness.cli.text import columns
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.analysis.power import Rate, Shape, Table
    from harness.measurements import WriteHistory

_SYNTHETIC = 8


def power(
    *,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.npz",
            help="A recorded history of writes and looks; may be repeated (default: made up).",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Plants of each kind.")] = 5000,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 1,
    as_json: Json = False,
) -> None:
    """Plant damage into histories of writes and looks, and count how often the judge finds it.

    It needs no machine. 5000 plants of each kind take about a minute.
    """
    from harness.analysis.power import measure_power

    table = measure_power(histories(history or (), seed), trials, seed)
    if as_json:
        typer.echo(json.dumps(as_told(table, seed), indent=2))
        return
    typer.echo(
        f"{table.histories} {'history' if table.histories == 1 else 'histories'} with "
        f"{table.writes} writes and {table.looks} looks, "
        f"seed {seed}"
    )
    typer.echo(columns([_HEADER, *map(_cells, table.rates)]))


def histories(files: Sequence[Path], seed: int) -> list[WriteHistory]:
    """Those of the files, or made up ones. Raises ConfigError for a file that is none."""
    from harness.analysis.power import parse_history, synthetic_history

    if not files:
        shape = shape_of_a_test()
        return [synthetic_history(seed + number, shape) for number in range(_SYNTHETIC)]
    found = []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        found.append(parse_history(content, str(file)))
    return found


def shape_of_a_test() -> Shape:
    """What a test of the suites writes and looks at by default: by the same code, so the same."""
    from harness.analysis.power import Looking, Shape, Written
    from harness.config.model import WorkloadConfig
    from harness.testbed.lun_layout import Layout
    from harness.workload.sweep import chunk_size, period_s, swept
    from harness.workload.sweeper import (
        AT_THE_MAP,
        LONGEST_PATIENCE_S,
        PATIENCE_S,
        REST_S,
        SLOW,
        WEIGHT,
    )

    config = WorkloadConfig()
    written = tuple(
        Written(
            blocks=job.area.size // job.block_size,
            depth=job.depth,
            per_s=job.iops,
            pause_s=job.pause_s or 0.0,
            chunk=chunk_size(job) // job.block_size,
            period_s=period_s(job),
        )
        for job in swept(Layout.of(config).mixed(seed=1))
    )
    looking = Looking(PATIENCE_S, LONGEST_PATIENCE_S, SLOW, WEIGHT, REST_S, AT_THE_MAP)
    return Shape(written, config.block_size, looking)


def as_told(table: Table, seed: int) -> dict[str, Any]:
    """The JSON of the table."""
    return {
        "histories": table.histories,
        "writes": table.writes,
        "looks": table.looks,
        "seed": seed,
        "rates": [
            {
                "damage": one.plant.title,
                "size": one.plant.size,
                "length": one.plant.length,
                "where": one.plant.where,
                "planted": one.planted,
                "found": one.found,
                "no_room": one.no_room,
                "share": round(one.share, 5),
                "low": round(one.limits.low, 5),
                "high": round(one.limits.high, 5),
            }
            for one in table.rates
        ],
    }


_HEADER = ("DAMAGE", "SIZE", "LENGTH", "SEEN", "PLANTED", "FOUND", "SHARE", "99 % LIMITS")


def _cells(one: Rate) -> tuple[str, ...]:
    plant = one.plant
    share = f"{one.share:.2%}" if one.planted else "no room"
    return (
        *(plant.title, plant.size, plant.length, plant.where),
        *(str(one.planted), str(one.found), share),
        f"{one.limits.low:.2%} to {one.limits.high:.2%}",
    )
