"""Whether what the paths carried really went over the NICs of their links; pure.

Addresses do not prove it: a route, a bond or a wrong cable may send the packets of two sessions
over one wire. Bytes do: a NIC carries at least what the disks of its link's paths carry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.analysis.recovery import back_ns
from harness.measurements import Ints, LinkTraffic, Measurements
from harness.measurements.arrays import Bools
from harness.units import KIB, NS_PER_S, format_size

_WINDOW_NS = 2 * NS_PER_S
# What the disks must have carried in a window before it tells anything: more than can wait in
# buffers from one window to the next, at the pace of a test.
_LEAST = 256 * KIB
# Of what the disks carried; a NIC on the right wire carries more than all of it.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class OtherWire:
    """The paths of a link carried more than its NIC, so their packets took another way."""

    traffic: LinkTraffic
    by_nic: int
    by_paths: int
    seconds: float

    def __str__(self) -> str:
        paths = ", ".join(self.traffic.paths)
        several = len(self.traffic.paths) > 1
        return (
            f"path{'s' * several} {paths} carried {format_size(self.by_paths)} in "
            f"{self.seconds:g} s, but NIC {self.traffic.nic} of link {self.traffic.link} only "
            f"{format_size(self.by_nic)}: their packets took another way"
        )


def other_wires(measurements: Measurements) -> Iterator[OtherWire]:
    """For each link the sum of all stretches of 2 s that prove it, if there are any.

    Not while a fault hits a path of the link: what fails on a dead path counts as carried there
    (blk_account_io_completion in block/blk-mq.c).
    """
    for traffic in measurements.traffic:
        edges = _edges(traffic)
        if len(edges) < 2:
            continue
        by_nic = np.diff(np.interp(edges, traffic.at_ns, traffic.carried))
        by_paths = np.diff(_carried_by_paths(measurements, traffic, edges))
        elsewhere = (by_paths >= _LEAST) & (by_nic < _LEAST_SHARE * by_paths)
        elsewhere &= (by_nic >= 0) & ~_hit(measurements, traffic, edges)
        if elsewhere.any():
            seconds = int(elsewhere.sum()) * _WINDOW_NS / NS_PER_S
            sums = [int(carried[elsewhere].sum()) for carried in (by_nic, by_paths)]
            yield OtherWire(traffic, sums[0], sums[1], seconds)


def _edges(traffic: LinkTraffic) -> Ints:
    """The edges of whole windows within the samples."""
    if len(traffic.at_ns) < 2:
        return np.empty(0, dtype=np.int64)
    return np.arange(traffic.at_ns[0], traffic.at_ns[-1] + 1, _WINDOW_NS, dtype=np.int64)


def _carried_by_paths(
    measurements: Measurements, traffic: LinkTraffic, edges: Ints
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    total = np.zeros(len(edges))
    for counters in measurements.counters:
        if counters.path in traffic.paths and len(counters.at_ns):
            carried = counters.bytes_read + counters.bytes_written
            total += np.interp(edges, counters.at_ns, carried)
    return total


def _hit(measurements: Measurements, traffic: LinkTraffic, edges: Ints) -> Bools:
    """Of each window whether a fault hit a path of the link in any part of it."""
    hit = np.zeros(len(edges) - 1, dtype=np.bool_)
    for fault in measurements.faults:
        if set(fault.paths) & set(traffic.paths):
            until_ns = back_ns(measurements, fault)
            hit |= (edges[:-1] <= until_ns) & (edges[1:] >= fault.injected_ns)
    return hit
