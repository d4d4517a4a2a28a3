"""`pathproof bench density`: how much of this machine a testbed takes, with many alive at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Config, Loaded
from harness.errors import HypervisorError
from harness.host.folder import Folder, base, reap
from harness.host.footprint import footprint
from harness.steps import Spent, step
from harness.topology import plan
from harness.units import format_size

_LOGIN_S = 120.0
_NAME = "density"


@dataclass(frozen=True)
class Density:
    """What one fork takes, in bytes, while `testbeds` idle forks are alive. Every path was read.

    `memory` is the resident memory of both QEMUs, `disk` what a fork wrote itself; medians.
    """

    testbeds: int
    memory: float
    disk: float
    all_memory: float


@configured()
def density(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="How many at once.")] = 8,
    as_json: Json = False,
) -> None:
    """Fork many testbeds, have all alive at once, and tell what each takes of this machine."""
    from harness.transport import transport_for

    hypervisor = loaded.config.hypervisor.model_copy(update={"testbeds": count})
    config = loaded.config.model_copy(update={"hypervisor": hypervisor, "name": _NAME})
    topology, script = plan(config), transport_for(config).read_every_path
    with telling(ctx), ExitStack() as stack:
        folders = [stack.enter_context(_kept(config, number + 1)) for number in range(count)]
        with step("Read over every path of every testbed", Spent.MEASURING):
            for folder in folders:
                _require_alive(folder, script, len(topology.paths) * len(topology.luns))
        found = [footprint(folder) for folder in folders]
    memory, disk = [one.memory for one in found], [one.disk for one in found]
    result = Density(count, median(memory), median(disk), sum(memory))
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    rows = [
        ("testbeds", str(result.testbeds), "forked, alive at once, every path read"),
        ("memory of one", format_size(int(result.memory)), "resident, both machines, median"),
        ("memory of all", format_size(int(result.all_memory)), ""),
        ("disk of one", format_size(int(result.disk)), "beside the snapshot, which all share"),
    ]
    typer.echo(columns(rows))


@contextmanager
def _kept(config: Config, number: int) -> Iterator[Folder]:
    """A fork that lives on without its maker; the embedded libvirt gives a process one root."""
    from harness.provision.abandoned import end_domains

    with (
        step(f"Fork testbed {number}", Spent.PROVISIONING),
        ProcessPoolExecutor(1, get_context("spawn")) as process,
    ):
        name = process.submit(_fork_and_keep, config).result()
    try:
        yield Folder(base() / name)
    finally:
        reap(end_domains, kept_too=True, name=name)


def _fork_and_keep(config: Config) -> str:
    """Fork a testbed and leave it, in a process of its own. Returns the testbed's name."""
    from harness.provision.provisioner import provisioner

    with provisioner(config) as lab, lab.fork():
        lab.keep()
        return lab.resources.folder.name


def _require_alive(folder: Folder, script: str, paths: int) -> None:
    """Raises HypervisorError if a path cannot be read or is not active, by what `script` prints."""
    from harness.deadline import Deadline
    from harness.machine import SshEndpoint, SshMachine

    manifest = folder.manifest()
    assert manifest is not None, folder
    address = manifest.machines["initiator"]
    endpoint = SshEndpoint(
        "127.0.0.1", address.port, "root", Path(address.private_key), address.host_key
    )
    machine = SshMachine.connect("initiator", endpoint, Deadline.after(_LOGIN_S))
    try:
        active = int(machine.sh(script).stdout)
    finally:
        machine.close()
    if active != paths:
        raise HypervisorError(f"{folder.name}: {active} of {paths} paths are active")
