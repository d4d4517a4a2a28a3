"""Whether one machine alone answers for each portal, and networks are apart: asked and judged.

Where the lab has cables of its own both are so. On networks of others, and of an external target,
an address may be in use twice, and two networks may be one: ARP tells both. Where sessions or paths
are not as planned it tells, too, whether any machine has a portal's address: what the kernel knows
of its neighbours may be old. It is for IPv4.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

from harness.errors import MachineError, Problem
from harness.preflight.ways import no_answer
from harness.topology import Network, Path, Role, Topology


@dataclass(frozen=True)
class Answers:
    """What ARP tells: MAC addresses by device and address, and which devices hear which.

    `asked` are devices and addresses that could be asked for. `heard` has a device that sent
    something, and one on which that arrived.
    """

    macs: Mapping[tuple[str, str], tuple[str, ...]]
    heard: tuple[tuple[str, str], ...] = ()
    asked: frozenset[tuple[str, str]] = frozenset()


def arp_argv(
    topology: Topology, devices: Mapping[str, str], *, in_doubt: bool = False
) -> list[str]:
    """What asks for every portal on networks that others use; empty if there is none.

    If `in_doubt`, for those on all networks. `devices` by link.
    """
    asked = dict.fromkeys(
        (devices[path.link.name], str(path.link.address), str(path.portal.next_hop))
        for path in _by_arp(topology)
        if in_doubt or _of_others(topology, topology.network(path.link.network))
    )
    if not asked:
        return []
    source = files("harness.preflight").joinpath("arp.py").read_text()
    return ["python3", "-I", "-S", "-c", source, json.dumps(list(asked))]


def _by_arp(topology: Topology) -> Iterator[Path]:
    return (p for p in topology.paths if topology.network(p.link.network).subnet.version == 4)


def _of_others(topology: Topology, network: Network) -> bool:
    """Whether other machines may be on it; else it has the lab's own cables."""
    return network.shared or Role.TARGET not in topology.guests


def parse_answers(text: str) -> Answers:
    """What the program printed. Raises MachineError.

    Real line: `{"asked": [["eth0", "172.16.0.1"]], "answers": [["eth0", "172.16.0.1",
    "02:00:00:00:00:01"]], "heard": []}`
    """
    try:
        said = json.loads(text)
        macs: dict[tuple[str, str], tuple[str, ...]] = {}
        for device, address, mac in said["answers"]:
            macs[device, address] = (*macs.get((device, address), ()), mac)
        heard = tuple((sent, arrived) for sent, arrived in said["heard"])
        return Answers(macs, heard, frozenset((one, address) for one, address in said["asked"]))
    except (ValueError, KeyError, TypeError) as error:  # JSON of another shape
        raise MachineError(f"not answers to ARP ({error!r}): {text[:200]!r}") from None


def answer_problems(
    topology: Topology, devices: Mapping[str, str], answers: Answers
) -> Iterator[Problem]:
    """Each portal for whose address none answers, or several NICs do; `devices` by link."""
    told = set()
    for path in _by_arp(topology):
        place = (devices[path.link.name], str(path.portal.next_hop))
        macs = answers.macs.get(place, ())
        if place not in answers.asked or len(macs) == 1 or place in told:
            continue
        told.add(place)
        if not macs:
            yield no_answer(path, place[0])
            continue
        yield Problem(
            f"{len(macs)} NICs answer ARP for {place[1]} on {place[0]} (link {path.link.name}), "
            f"the way to portal {path.portal}: {', '.join(macs)}",
            "give the address to no other machine; a machine with several NICs on that network "
            "needs `sysctl -w net/ipv4/conf/all/arp_ignore=1`",
        )


def joined_networks(
    topology: Topology, devices: Mapping[str, str], answers: Answers
) -> Iterator[str]:
    """A sentence for each two networks that are one layer-2 network; `devices` by link."""
    on = {devices[link.name]: link.network for link in topology.links}
    told = set()
    for sent, arrived in answers.heard:
        pair = frozenset((on[sent], on[arrived]))
        if len(pair) > 1 and pair not in told:
            told.add(pair)
            yield (
                f"networks {on[sent]} and {on[arrived]} are one layer-2 network: what is sent on "
                f"{sent} arrives on {arrived}. A fault of one switch may take the paths of both; "
                "a VLAN for each keeps them apart"
            )
