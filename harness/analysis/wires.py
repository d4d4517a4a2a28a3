"""Whether what the paths carried really went over the NICs of their links; pure.

Addresses do not prove it: a route, a bond or a wrong cable may send the packets of two sessions
over one wire. Bytes do: a NIC carries at least what the disks of its link's paths carry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.recovery import back_ns
from harness.measurements import Ints, LinkTraffic, Measurements
from harness.measurements.arrays import Bools
from harness.units import KIB, NS_PER_S, format_size

Floats = NDArray[np.float64]

_WINDOW_NS = 2 * NS_PER_S
# What the disks must have carried before it tells anything: more than can wait in buffers from one
# window to the next, at the pace of a test.
_LEAST = 128 * KIB
# A sample has the NICs first and then the disks, some time later on a busy machine: at an edge the
# disks may have what the NIC shows only in the next samples. Reading back is 14 MiB/s, 0.1 s of it
# more than a test carries in a window.
_LATER_NS = NS_PER_S // 2
# Of what the disks carried; a NIC on the right wire carries more than all of it.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class OtherWire:
    """The paths of a link carried more one way than its NIC, so their packets took another way."""

    traffic: LinkTraffic
    way: str
    by_nic: int
    by_paths: int
    seconds: float

    def __str__(self) -> str:
        paths = ", ".join(self.traffic.paths)
        several = len(self.traffic.paths) > 1
        verb = "wrote" if self.way == "sent" else "read"
        size, seconds = format_size(self.by_paths), f"{self.seconds:g} s"
        return (
            f"path{'s' * several} {paths} {verb} {size} in {seconds}, "
            f"but NIC {self.traffic.nic} of link {self.traffic.link} {self.way} only "
            f"{format_size(self.by_nic)}: the packets took another way"
        )


def other_wires(measurements: Measurements) -> Iterator[OtherWire]:
    """For each link and way the sum of all stretches of 2 s that prove it, if there are any.

    Not while a fault hits a path of the link, nor when one is lost without: what fails on a dead
    path counts as carried there (blk_account_io_completion in block/blk-mq.c).
    """
    for traffic in measurements.traffic:
        edges = _edges(traffic)
        if len(edges) < 2:
            continue
        spared = _hit(measurements, traffic, edges)
        for way, nic, disks in _ways(measurements, traffic):
            by_nic = _grown(edges, traffic.at_ns, nic, later_ns=_LATER_NS)
            by_paths = np.sum([_grown(edges, *disk) for disk in disks], axis=0)
            elsewhere = [
                part
                for part in _telling(by_paths, spared | (by_nic < 0))
                if by_nic[part].sum() < _LEAST_SHARE * by_paths[part].sum()
            ]
            if elsewhere:
                part = np.concatenate(elsewhere)
                sums = (int(by_nic[part].sum()), int(by_paths[part].sum()))
                yield OtherWire(traffic, way, *sums, len(part) * _WINDOW_NS / NS_PER_S)


def untold(measurements: Measurements) -> list[str]:
    """The links whose paths carried too little, both ways, for their NICs to prove anything."""
    found = []
    for traffic in measurements.traffic:
        edges = _edges(traffic)
        spared = _hit(measurements, traffic, edges) if len(edges) > 1 else np.empty(0, np.bool_)
        ways = _ways(measurements, traffic) if len(edges) > 1 else ()
        sums = (np.sum([_grown(edges, *disk) for disk in disks], axis=0) for *_, disks in ways)
        if not any(_telling(by_paths, spared) for by_paths in sums):
            found.append(traffic.link)
    return found


def _telling(by_paths: Floats, spared: Bools) -> list[Ints]:
    """Groups of neighbouring windows, each with enough bytes of the disks to tell anything."""
    groups: list[Ints] = []
    begun, carried = 0, 0.0
    for n, (size, left_out) in enumerate(zip(by_paths.tolist(), spared.tolist(), strict=True)):
        if left_out:
            begun, carried = n + 1, 0.0
            continue
        carried += size
        if carried >= _LEAST:
            groups.append(np.arange(begun, n + 1, dtype=np.int64))
            begun, carried = n + 1, 0.0
    return groups


def _ways(
    measurements: Measurements, traffic: LinkTraffic
) -> Iterator[tuple[str, Ints, list[tuple[Ints, Ints]]]]:
    """Both ways: its name, what the NIC carried, and what each disk did, with the times of that."""
    paths = [one for one in measurements.counters if one.path in traffic.paths]
    yield "sent", traffic.sent, [(one.at_ns, one.bytes_written) for one in paths]
    yield "received", traffic.received, [(one.at_ns, one.bytes_read) for one in paths]


def _grown(edges: Ints, at_ns: Ints, total: Ints, later_ns: int = 0) -> Floats:
    """By how much a count grew in each window and that long after; 0 if it was never sampled."""
    if not len(at_ns):
        return np.zeros(len(edges) - 1)
    until, since = (np.interp(when, at_ns, total) for when in (edges[1:] + later_ns, edges[:-1]))
    return np.asarray(until - since, dtype=np.float64)


def _edges(traffic: LinkTraffic) -> Ints:
    """The edges of whole windows within the samples."""
    if len(traffic.at_ns) < 2:
        return np.empty(0, dtype=np.int64)
    return np.arange(traffic.at_ns[0], traffic.at_ns[-1] + 1, _WINDOW_NS, dtype=np.int64)


def _hit(measurements: Measurements, traffic: LinkTraffic, edges: Ints) -> Bools:
    """Of each window whether a path of the link was lost, or had trouble, in any part of it."""
    spans = [
        (fault.injected_ns, back_ns(measurements, fault))
        for fault in measurements.faults
        if set(fault.paths) & set(traffic.paths)
    ]
    spans += [
        (event.at_ns - _WINDOW_NS, event.at_ns + _WINDOW_NS)
        for event in measurements.timeline
        if event.path in traffic.paths
    ]
    hit = np.zeros(len(edges) - 1, dtype=np.bool_)
    for start_ns, end_ns in spans:
        hit |= (edges[:-1] <= end_ns) & (edges[1:] >= start_ns)
    return hit
