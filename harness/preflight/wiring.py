"""Whether the networks are wired as planned: each machine is looked at, pure functions judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.concurrency import side_by_side
from harness.errors import PreflightFailed, Problem
from harness.machine import Machine
from harness.preflight.answers import answer_problems, arp_argv, joined_networks, parse_answers
from harness.preflight.frames import echo_argv, frame_problems, parse_echo
from harness.preflight.nics import DEVICES_SCRIPT, nic_problems, parse_devices
from harness.preflight.subnet import (
    EVERY_DEVICE,
    crowded,
    parse_settings,
    settings_script,
    stranger_problems,
    subnet_problems,
)
from harness.preflight.ways import MARK, parse_ways, way_problems, ways_script
from harness.steps import warn
from harness.topology import Role, Topology

_TIMEOUT_S = 30.0
_SETTINGS = f"{MARK}settings"


@dataclass(frozen=True)
class End:
    """One machine's end of the cables: `nics` are its names of the data NICs, by the NIC's.

    `name` is the machine's in the topology.
    """

    name: str
    machine: Machine
    nics: Mapping[str, str]


def require_wired(topology: Topology, ends: Sequence[End]) -> None:
    """Raises PreflightFailed with everything that is wired otherwise than planned."""
    if problems := wiring_problems(topology, ends):
        raise PreflightFailed(problems)


def wiring_problems(
    topology: Topology, ends: Sequence[End], *, in_doubt: bool = False
) -> list[Problem]:
    """Everything that is wired otherwise than planned, as these machines show it now.

    `in_doubt` if sessions or paths are not as planned: then each portal is asked for.
    """
    looks = side_by_side(*((lambda e=end: list(_looked_at(topology, e, in_doubt))) for end in ends))
    return list(dict.fromkeys(problem for look in looks for problem in look))


def _looked_at(topology: Topology, end: End, in_doubt: bool) -> Iterator[Problem]:
    """All is asked at once but for frames: under emulation each command takes its time.

    Networks that are not apart end no run: its paths are those that were planned.
    """
    asks = end.name != Role.TARGET
    devices = _devices(topology, end) if asks else {}
    shared = [devices[link.name] for network in crowded(topology) for link in network.links if asks]
    if is_existing := end.name not in topology.guests:
        shared = [EVERY_DEVICE]
    script = DEVICES_SCRIPT
    if asks:
        script += f"{ways_script(topology, devices)}echo '{_SETTINGS}'\n{settings_script(shared)}"
    said = end.machine.sh(script, timeout_s=_TIMEOUT_S).stdout
    addresses, separator, rest = said.partition(f"\n{MARK}")
    found = parse_devices(addresses)
    yield from nic_problems(end.name, topology, end.nics, found)
    if not asks:
        return
    ways, _, said = f"{separator}{rest}".partition(f"\n{_SETTINGS}\n")
    settings = parse_settings(said)
    yield from way_problems(topology, devices, parse_ways(ways))
    yield from subnet_problems(topology, devices, settings)
    if is_existing:
        yield from stranger_problems(topology, devices, found, settings)
    if argv := arp_argv(topology, devices, in_doubt=in_doubt):
        heard = parse_answers(end.machine.run(argv, timeout_s=_TIMEOUT_S).stdout)
        yield from answer_problems(topology, devices, heard)
        for text in joined_networks(topology, devices, heard):
            warn(text)
    if argv := echo_argv(topology, devices):
        answers = parse_echo(end.machine.run(argv, timeout_s=_TIMEOUT_S).stdout)
        yield from frame_problems(topology, devices, answers)


def _devices(topology: Topology, end: End) -> dict[str, str]:
    """The device that has the initiator's address of each link."""
    return {
        link.name: topology.network(link.network).device(end.nics[link.name])
        for link in topology.links
    }
