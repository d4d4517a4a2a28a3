"""`pathproof bench density`: how much of this machine a testbed takes, with many alive at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from statistics import median
from typing import Annotated

import typer

from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Config, Loaded
from harness.errors import HypervisorError
from harness.steps import Spent, step
from harness.units import format_size

_READY_S = 600.0
_LOOK_S = 120.0
_END_S = 60.0


@dataclass(frozen=True)
class Density:
    """Medians over `testbeds` idle forks that were alive at once, and read over every path then.

    Bytes; memory is the resident memory of both QEMUs, disk what a fork wrote itself.
    """

    testbeds: int
    memory: float
    disk: float
    all_memory: float


class Held:
    """A testbed in a process of its own: the embedded libvirt gives each process one root."""

    def __init__(self, config: Config) -> None:
        processes = get_context("spawn")
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(target=_hold, args=(config, theirs))
        self._process.start()
        theirs.close()

    def next(self, what: str, timeout_s: float) -> tuple[int, int]:
        """The next answer: bytes of memory and of disk. Raises HypervisorError."""
        if not wait([self._pipe], timeout_s):
            raise HypervisorError(f"{what}: no testbed within {timeout_s:.0f} s")
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise HypervisorError(f"{what}: the process that held the testbed ended") from None
        if isinstance(answer, str):
            raise HypervisorError(f"{what}: {answer}")
        memory, disk = answer
        return int(memory), int(disk)

    def look(self) -> tuple[int, int]:
        """Read over every path again and measure."""
        self._pipe.send("look")
        return self.next("with all others alive", _LOOK_S)

    def end(self) -> None:
        """Let it remove its testbed, and wait for that."""
        self._pipe.close()
        self._process.join(_END_S)


@configured()
def density(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="How many at once.")] = 8,
    as_json: Json = False,
) -> None:
    """Fork many testbeds, have all alive at once, and tell what each takes of this machine."""
    hypervisor = loaded.config.hypervisor.model_copy(update={"testbeds": count})
    config = loaded.config.model_copy(update={"hypervisor": hypervisor})
    began = time.monotonic()
    with telling(ctx), ExitStack() as stack:
        held = [stack.enter_context(_held(config, number)) for number in range(count)]
        with step("Read over every path of every testbed", Spent.MEASURING):
            footprints = [one.look() for one in held]
    memory, disk = zip(*footprints, strict=True)
    found = Density(count, median(memory), median(disk), sum(memory))
    if as_json:
        typer.echo(json.dumps(vars(found) | {"took_s": round(time.monotonic() - began, 1)}))
        return
    rows = [
        ("testbeds", str(found.testbeds), "forked, alive at once, every path read"),
        ("memory of one", format_size(int(found.memory)), "resident, both machines, median"),
        ("memory of all", format_size(int(found.all_memory)), ""),
        ("disk of one", format_size(int(found.disk)), "beside the snapshot, which all share"),
    ]
    typer.echo(columns(rows))


@contextmanager
def _held(config: Config, number: int) -> Iterator[Held]:
    with step(f"Fork testbed {number + 1}", Spent.PROVISIONING):
        held = Held(config)
    try:
        held.next(f"testbed {number + 1}", _READY_S)
        yield held
    finally:
        held.end()


def _hold(config: Config, pipe: Connection) -> None:
    """In a process of its own: answer with the footprint, now and whenever asked, to the end."""
    from harness.cli.ending import ending_politely
    from harness.testbed.footprint import footprint
    from harness.testbed.provision import provisioner

    try:
        with ending_politely(), provisioner(config) as lab, lab.fork() as testbed:
            while True:
                testbed.prove_paths()
                seen = footprint(lab.site, testbed)
                pipe.send((seen.memory, seen.disk))
                pipe.recv()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:  # the other process tells it
        pipe.send(str(error))
