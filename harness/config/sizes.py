"""What machines and load become under KVM, where the user states nothing; pure.

The defaults of the model are those of emulation, which carries some 11 MiB/s of multipath I/O and
runs a virtual processor at a small part of a core's speed. A load that is paced for that shows
less of a machine that can do more: rarer probes, rarer writes to any one place.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from harness.units import GIB, MIB

# Two processors: the initiator's interrupts and multipathd run beside fio, as on a real machine.
_MACHINES = {"cpus": 2, "memory": 2 * GIB}
# Reads that are four times as quick need four times the area, since each block is verified once
# (82 s with either), and each block of the writes is written again every 1.6 s.
_WORKLOAD = {"region": 256 * MIB, "write_iops": 320, "read_iops": 200, "probe_iops": 500}


def machines(stated: AbstractSet[str]) -> dict[str, int]:
    """The values of each key of [machines] that was not `stated`."""
    return {key: value for key, value in _MACHINES.items() if key not in stated}


def workload(stated: AbstractSet[str], room: int) -> dict[str, int]:
    """The values of [workload], all or none: none if one was `stated`.

    None also on a LUN of less than the region; `room` is its size in bytes, 0 if not known.
    """
    if stated & _WORKLOAD.keys() or room < _WORKLOAD["region"]:
        return {}
    return dict(_WORKLOAD)
