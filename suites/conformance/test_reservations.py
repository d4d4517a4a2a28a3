"""Persistent reservations of a LUN that two initiators write to, as a cluster uses them (SPC-4).

Each node registers a key over every path, and the reservation is "write exclusive, registrants
only": whoever is registered writes. A node that is fenced loses its registration, and the target
refuses its writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness.checks import promise_kept
from harness.faults import LinkDown
from harness.plugin import Judge
from harness.testbed import Testbed
from harness.testbed.map_view import MapView
from harness.transport.dm_multipath import multipathd
from harness.transport.dm_multipath.multipath_conf import CONF_FOLDER

DURING_S = 3
KEYS = ("0xabc1", "0xabc2")
_WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5  # SPC-4, table 33
_CONF = f"{CONF_FOLDER}/reservations.conf"
# By this the daemon keeps the keys, and registers them again over paths that come back.
_KEYS_IN_A_FILE = "defaults {\n    reservation_key file\n}\n"
_CONFLICT = "Invalid exchange"  # EBADE, which block/blk-core.c makes of a reservation conflict


@pytest.fixture
def nodes(testbed: Testbed) -> Iterator[tuple[MapView, MapView]]:
    """The maps of one LUN on two initiators that may both write to it; nothing is registered."""
    shared = [lun for lun in testbed.topology.luns if len(lun.writers) > 1]
    if not shared:
        pytest.skip("no LUN has two initiators that write to it ([[initiators]])")
    writing = (v for v in testbed.maps if v.lun == shared[0] and not v.planned.read_only)
    one, other, *_ = writing
    machines = [testbed.machine(view.machine) for view in (one, other)]
    try:
        for machine in machines:
            machine.write_files({_CONF: _KEYS_IN_A_FILE}, mode=0o600)
            multipathd.order(machine, "reconfigure")
        testbed.wait_for_all_but(())
        yield one, other
    finally:
        persist(testbed, one, "--out", "--clear", f"--param-rk={KEYS[0]}", check=False)
        for machine in machines:
            machine.run(["rm", "-f", _CONF])
            multipathd.order(machine, "reconfigure")


def persist(testbed: Testbed, view: MapView, *words: str, check: bool = True) -> str:
    """mpathpersist(8) on a map: it does on every path what SCSI does on one."""
    argv = ["mpathpersist", *words, view.device]
    done = testbed.machine(view.machine).run(argv, check=check)
    return done.stdout + done.stderr


def registered(testbed: Testbed, view: MapView) -> list[str]:
    """The keys of all registrations, each once for every path that has it: sg_persist(8)."""
    argv = ["sg_persist", "--in", "--read-keys", f"/dev/{view.attachment.paths()[0].disk}"]
    said = testbed.machine(view.machine).run(argv).stdout
    return sorted(re.findall(r"^\s+(0x[0-9a-f]+)$", said, re.MULTILINE))


def wrote(testbed: Testbed, view: MapView) -> str:
    """What a write of one block beyond all that tests use comes to: "" if it is done."""
    argv = ["dd", "if=/dev/zero", f"of={view.device}", "bs=4k", "count=1", "oflag=direct"]
    argv += [f"seek={view.lun.size // 4096 - 1}", "conv=notrunc"]
    done = testbed.machine(view.machine).run(argv, check=False)
    return done.stderr if done.status != 0 else ""


@pytest.mark.requires("persistent_reservations")
def test_a_reservation_outlives_the_loss_of_a_path_and_keeps_a_fenced_node_out(
    testbed: Testbed, judge: Judge, seed: int, nodes: tuple[MapView, MapView]
) -> None:
    """Both nodes write while one of them loses a path; then the other is fenced."""
    holder, other = nodes
    for key, view in zip(KEYS, nodes, strict=True):
        persist(testbed, view, "--out", "--register", f"--param-sark={key}")
    rights = f"--prout-type={_WRITE_EXCLUSIVE_REGISTRANTS_ONLY}"
    persist(testbed, holder, "--out", "--reserve", f"--param-rk={KEYS[0]}", rights)
    every_path = sorted(key for key, view in zip(KEYS, nodes, strict=True) for _ in view.paths)
    assert registered(testbed, holder) == every_path

    link = testbed.topology.of(holder.machine).links[0]
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=DURING_S)
        testbed.fail_over(LinkDown(link.name), during_s=DURING_S, after_s=DURING_S)
    judge(io.measurements_by_lun, *promise_kept()).require()
    assert registered(testbed, holder) == every_path
    assert wrote(testbed, holder) == wrote(testbed, other) == ""

    words = ("--out", "--preempt", f"--param-rk={KEYS[0]}", f"--param-sark={KEYS[1]}", rights)
    persist(testbed, holder, *words)
    assert registered(testbed, holder) == [KEYS[0]] * len(holder.paths)
    assert _CONFLICT in wrote(testbed, other)
    assert wrote(testbed, holder) == ""
    reads = ["dd", f"if={other.device}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct"]
    testbed.machine(other.machine).run(reads)
