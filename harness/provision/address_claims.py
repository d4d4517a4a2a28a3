"""Addresses on networks that others use: one testbed at a time uses them, also between hosts.

The initiator asks on the wire before a machine of the testbed has any of them (`arp_probe.py`), and
tells others from then on whose they are.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import Any

from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, MachineError, PreflightFailed, Problem
from harness.host.queue import PATIENCE_S, printable, this_process
from harness.machine import Machine, Process
from harness.steps import Spent, progress, step
from harness.topology import Topology

# A testbed whose messages were lost says more at the next look, 5 s later.
_STRANGER_S = 20.0
_ASKS_AGAIN_S = 30.0  # it does every 7 s
_LOOK_EVERY_S = 0.1
_LONGEST_WHO = 300
_ARP_IS_FOR = 4  # the version of IP


@dataclass(frozen=True)
class _Use:
    """An address that somebody else has. `who` is empty for what is no testbed."""

    address: str
    mac: str
    who: str

    def __str__(self) -> str:
        return f"{self.address} is in use by {self.who or self.mac}"


@dataclass
class Held:
    """What the program on the initiator says of the addresses."""

    free: bool = False
    use: _Use | None = None
    strange_since: float | None = None
    wanted_at: float | None = None

    def hear(self, line: bytes) -> None:
        """Take in one line that it printed."""
        said: dict[str, Any] = json.loads(line)
        if "wanted" in said:
            self.wanted_at = time.monotonic()
            return
        if "free" in said:
            self.free = True
            return
        who = printable(str(said["who"]))[:_LONGEST_WHO]
        self.use = _Use(said["used"], said["by"], who)
        if who:
            self.strange_since = None
        elif self.strange_since is None:
            self.strange_since = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether a testbed of another host waits for them."""
        return self.wanted_at is not None and time.monotonic() - self.wanted_at < _ASKS_AGAIN_S

    @property
    def stranger(self) -> _Use | None:
        """Who has an address, if it is no testbed that would give it back."""
        since = self.strange_since
        return self.use if since is not None and time.monotonic() - since > _STRANGER_S else None


@contextmanager
def held_addresses(
    initiator: Machine, topology: Topology, nics: Mapping[str, str], what: str
) -> Iterator[Held]:
    """Have the addresses on shared networks for the length of the block; wait for them first.

    `nics`: the initiator's NICs by their names in the topology, up and without an address yet.
    Those that wait are shown `what`. Raises PreflightFailed if what is no testbed has one of them.
    """
    source = files("harness.provision").joinpath("arp_probe.py").read_text()
    who = f"{this_process(what)} on {socket.gethostname()}"
    argv = ["python3", "-I", "-S", "-c", source, json.dumps(_claim(topology, nics, who))]
    heard = Held()
    with initiator.background(argv, on_line=heard.hear) as process:
        with step("Ask who has the addresses", Spent.PROVISIONING):
            poll(
                lambda: heard.free or heard.use or _ended(initiator, process),
                what="an answer of the initiator's network",
                deadline=Deadline.after(60.0),
                every_s=_LOOK_EVERY_S,
            )
        with nullcontext() if heard.free else step("Wait for addresses in use", Spent.TURN):
            poll(
                lambda: heard.free or _still_used(heard) or _ended(initiator, process),
                what="addresses that are in use",
                deadline=Deadline.after(PATIENCE_S),
                every_s=_LOOK_EVERY_S,
            )
        yield heard


def _claim(topology: Topology, nics: Mapping[str, str], who: str) -> dict[str, Any]:
    """The input of the program: every address of a machine that is made for the testbed."""
    return {
        "who": who,
        "nics": {
            network.device(nics[network.links[0].name]): {
                str(address): nic.mac
                for machine in topology.guests
                for nic in network.nics(machine)
                for address in map(_bare, nic.addresses)
                if address.version == _ARP_IS_FOR
            }
            for network in topology.shared
        },
    }


def _bare(address: str) -> IPv4Address | IPv6Address:
    return ip_interface(address).ip


def _still_used(heard: Held) -> bool:
    """Show which testbed uses an address, and return False: it is still in use.

    Raises PreflightFailed if the user is no testbed, and so will not end.
    """
    if (use := heard.stranger) is not None:
        raise PreflightFailed(
            [
                Problem(
                    f"{use.address} is in use by {use.mac}, which is no testbed of a run",
                    "give free addresses in [[networks]]; a testbed that was kept (`pathproof ps`) "
                    "or left by a killed run (`pathproof reap`) has its own until it is removed",
                )
            ]
        )
    progress(str(heard.use))
    return False


def _ended(initiator: Machine, process: Process) -> bool:
    """False. Raises MachineError if the program has ended."""
    if not process.running:
        try:
            said = process.wait(0).stderr.strip()
        except CommandTimedOut:
            said = ""
        raise MachineError(f"{initiator.name}: cannot ask who has the addresses: {said}")
    return False
