"""What machines and load become under KVM, where the user changes nothing; pure.

A value that is written out and equals the default is no change, as in `effects`.

The defaults of the model are those of emulation, which carries some 11 MiB/s of multipath I/O and
runs a virtual processor at a small part of a core's speed. A load that is paced for that shows
less of a machine that can do more: rarer probes, rarer writes to any one place.
"""

from __future__ import annotations

from typing import Literal

from harness.config.effects import changed
from harness.config.model import Config
from harness.units import GIB, MIB

# Two processors: the initiator's interrupts and multipathd run beside fio, as on a real machine.
_MACHINES = {"cpus": 2, "memory": 2 * GIB}
# Reads that are four times as quick need four times the area, since each block is verified once
# (82 s with either). What is written has four times the blocks, too, and each stays as long.
_WORKLOAD = {"region": 256 * MIB, "write_iops": 320, "read_iops": 200, "probe_iops": 500}


def sized_for(config: Config, accel: Literal["kvm", "tcg"]) -> Config:
    """The same, with what that accelerator carries in place of defaults.

    The load changes as a whole, or not at all: if a part of it is not the default, if a LUN is
    smaller than the region, or if its size is not known since the target is external.
    """
    if accel == "tcg":
        return config
    room = min(lun.size or 0 for lun in config.every_lun) if config.target.is_made else 0
    machines, workload = config.machines, config.workload
    larger = {key: value for key, value in _MACHINES.items() if key not in changed(machines)}
    fits = room >= _WORKLOAD["region"] and not _WORKLOAD.keys() & set(changed(workload))
    quicker = _WORKLOAD if fits else {}
    return config.model_copy(
        update={
            "machines": machines.model_copy(update=larger),
            "workload": workload.model_copy(update=quicker),
        }
    )
