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
# What the disks must have carried in a window before it tells anything: more than can wait in
# buffers from one window to the next, at the pace of a test.
_LEAST = 256 * KIB
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
            by_nic = _grown(edges, traffic.at_ns, nic)
            by_paths = np.sum([_grown(edges, *disk) for disk in disks], axis=0)
            elsewhere = (by_paths >= _LEAST) & (by_nic < _LEAST_SHARE * by_paths)
            elsewhere &= (by_nic >= 0) & ~spared
            if elsewhere.any():
                seconds = int(elsewhere.sum()) * _WINDOW_NS / NS_PER_S
                sums = [int(carried[elsewhere].sum()) for carried in (by_nic, by_paths)]
                yield OtherWire(traffic, way, sums[0], sums[1], seconds)


def _ways(
    measurements: Measurements, traffic: LinkTraffic
) -> Iterator[tuple[str, Ints, list[tuple[Ints, Ints]]]]:
    """Both ways: its name, what the NIC carried, and what each disk did, with the times of that."""
    paths = [one for one in measurements.counters if one.path in traffic.paths]
    yield "sent", traffic.sent, [(one.at_ns, one.bytes_written) for one in paths]
    yield "received", traffic.received, [(one.at_ns, one.bytes_read) for one in paths]


def _grown(edges: Ints, at_ns: Ints, total: Ints) -> Floats:
    """By how much a count grew in each window; 0 for one that was never sampled."""
    if not len(at_ns):
        return np.zeros(len(edges) - 1)
    return np.asarray(np.diff(np.interp(edges, at_ns, total)), dtype=np.float64)


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
