"""Whether frames as large as networks.N.mtu says pass from end to end: asked and judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files

from harness.errors import MachineError, Problem
from harness.topology import Topology

_CAUSES = {
    "lost": "does not answer an echo request of {size} bytes, though small ones",
    "fragments": "answers an echo request of {size} bytes in fragments: its own MTU is smaller",
    "too large": "cannot be sent {size} bytes in one packet: the initiator's own MTU, or one that "
    "a router told it, is smaller",
    "silent": "answers no echo request at all, so that its MTU cannot be proven",
}
_CURE = (
    "set the same MTU on the NICs of both ends and on every switch port between them; without "
    "`mtu` in [[networks]] it is not tried"
)


def echo_argv(topology: Topology, devices: Mapping[str, str]) -> list[str]:
    """What asks every portal on networks with an `mtu`; empty if there is none.

    `devices` by link.
    """
    probes = dict.fromkeys(
        (devices[path.link.name], str(path.portal.portal.address), mtu)
        for path in topology.paths
        if (mtu := topology.network(path.link.network).mtu) is not None
    )
    if not probes:
        return []
    source = files("harness.preflight").joinpath("echo.py").read_text()
    return ["python3", "-I", "-S", "-c", source, json.dumps(list(probes))]


def parse_echo(text: str) -> dict[tuple[str, str], str]:
    """Answers by device and address. Raises MachineError.

    Real line: `{"device": "ens16", "address": "172.16.0.1", "answer": "whole"}`
    """
    try:
        said = [json.loads(line) for line in text.splitlines()]
        return {(one["device"], one["address"]): one["answer"] for one in said}
    except (ValueError, KeyError, TypeError) as error:  # JSON of another shape
        raise MachineError(f"not answers of portals ({error!r}): {text[:200]!r}") from None


def frame_problems(
    topology: Topology, devices: Mapping[str, str], answers: Mapping[tuple[str, str], str]
) -> Iterator[Problem]:
    """Every portal that was not proven to be reached by frames of full size."""
    told = set()
    for path in topology.paths:
        mtu = topology.network(path.link.network).mtu
        device, address = devices[path.link.name], str(path.portal.portal.address)
        if mtu is None or (device, address) in told:
            continue
        told.add((device, address))
        answer = answers.get((device, address), "silent")
        if answer != "whole":
            cause = _CAUSES[answer].format(size=mtu)
            yield Problem(
                f"{address}, the address of portal {path.portal.name}, {cause} (from {device})",
                _CURE,
            )
