"""`pathproof bench schedule`: how long a run takes on how many hosts, on paper."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.cli.text import columns
from harness.errors import ConfigError
from harness.schedule import Case
from harness.schedule.simulation import Machine, lower_bound_s, simulate

HISTORY = Path("reports/out/history.jsonl")
RECORDED = (
    Path(__file__).resolve().parents[3]
    / "suites/selftest/unit/recorded/allure-3-failover-history.jsonl"
)

FORK_S = 3.0  # each test, for a testbed of its own
COLD_S = 80.0  # each host, once: 10 for code and a connection, 40 for images, 30 for a snapshot
NOISE = 0.1  # standard deviation of the logarithm of a duration from run to run
RARE = 10  # one test in so many needs a label that one host in as many has
DEADLY = 100  # one host in so many dies, but at least one where there are two

_LABEL = frozenset({"rare"})


@dataclass(frozen=True)
class Row:
    """One number of hosts: seconds, and how they compare with the bound that nothing can beat.

    `ready_s`: every host has its snapshot; `lone_s`: the same if workers need not know their next
    test ahead; `cold_s`: every host is new; `rare_s`: ready, with a scarce label; `dying_s`: ready,
    and `died` hosts die, so that `again` tests run once more.
    """

    hosts: int
    bound_s: float
    ready_s: float
    ready_over_bound: float
    lone_over_bound: float
    cold_s: float
    rare_over_bound: float
    dying_s: float
    died: int
    again: int


def schedule(
    *,
    hosts: Annotated[
        str, typer.Option(metavar="N,N,…", help="How many hosts.")
    ] = "1,2,4,10,100,1000",
    slots: Annotated[int, typer.Option(min=1, help="Tests at a time on each host.")] = 1,
    tests: Annotated[int, typer.Option(min=1, help="How many tests.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 1,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help=f"Recorded durations (default: {HISTORY} if it exists, else a recorded run).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a run on many hosts, with recorded durations and the scheduler of `--fleet`."""
    from harness.reporting.durations import recorded_durations

    source = history or (HISTORY if HISTORY.exists() else RECORDED)
    durations = sorted(recorded_durations(source).values())
    if not durations:
        raise ConfigError(
            f"{source} holds no test that ran through", hint="name another: --history"
        )
    rows = [row(count, slots, tests, seed, durations) for count in _numbers(hosts)]
    if as_json:
        what = {"source": str(source), "recorded": len(durations), "tests": tests, "seed": seed}
        typer.echo(json.dumps({**what, "slots": slots, "rows": list(map(asdict, rows))}, indent=2))
        return
    typer.echo(f"{tests} tests drawn from {len(durations)} in {source}, seed {seed}")
    typer.echo(columns([_HEADER, *map(_cells, rows)]))


def row(hosts: int, slots: int, tests: int, seed: int, durations: Sequence[float]) -> Row:
    """Simulate one number of hosts; `durations` are seconds of recorded tests to draw from."""
    chance = random.Random(seed)  # noqa: S311  # a simulation is to be repeatable
    expected_s = [chance.choice(durations) + FORK_S for _ in range(tests)]
    took_s = [seconds * chance.lognormvariate(0, NOISE) for seconds in expected_s]
    cases = [Case(str(number), expected_s=seconds) for number, seconds in enumerate(expected_s)]
    machines = [Machine(str(number), slots) for number in range(hosts)]
    bound_s = lower_bound_s(cases, machines, took_s)
    ready = simulate(cases, machines, took_s)
    lone = simulate(cases, machines, took_s, queue=1)
    cold = simulate(cases, machines, took_s, ready_s=COLD_S)

    picky = [
        Case(case.name, _LABEL if number % RARE == 0 else frozenset(), case.expected_s)
        for number, case in enumerate(cases)
    ]
    labelled = [
        Machine(machine.name, slots, _LABEL if number % RARE == 0 else frozenset())
        for number, machine in enumerate(machines)
    ]
    rare = simulate(picky, labelled, took_s)

    mortal = chance.sample(machines, max(hosts // DEADLY, int(hosts > 1)))
    deaths_s = {machine.name: chance.uniform(0, bound_s) for machine in mortal}
    dying = simulate(cases, machines, took_s, deaths_s=deaths_s)
    return Row(
        hosts=hosts,
        bound_s=round(bound_s, 1),
        ready_s=round(ready.makespan_s, 1),
        ready_over_bound=round(ready.makespan_s / bound_s, 3),
        lone_over_bound=round(lone.makespan_s / bound_s, 3),
        cold_s=round(cold.makespan_s, 1),
        rare_over_bound=round(rare.makespan_s / lower_bound_s(picky, labelled, took_s), 3),
        dying_s=round(dying.makespan_s, 1),
        died=len(mortal),
        again=dying.again,
    )


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"{text!r} is no list like 1,10,100", param_hint="--hosts")
    return numbers


_HEADER = ("hosts", "bound", "ready", "/bound", "lone", "cold", "rare", "dying", "died", "again")


def _cells(of: Row) -> tuple[str, ...]:
    seconds = [f"{number:.0f} s" for number in (of.bound_s, of.ready_s, of.cold_s, of.dying_s)]
    ratios = [f"{n:.3f}" for n in (of.ready_over_bound, of.lone_over_bound, of.rare_over_bound)]
    bound, ready, cold, dying = seconds
    ready_ratio, lone, rare = ratios
    return (
        *(str(of.hosts), bound, ready, ready_ratio, lone),
        *(cold, rare, dying, str(of.died), str(of.again)),
    )
