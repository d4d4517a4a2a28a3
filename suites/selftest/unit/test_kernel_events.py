"""What a kernel log says: the story of a path, errors that must not be, and harmless lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel_events import events, is_map_error, is_trouble
from harness.measurements import KernelLog, KernelMessage
from harness.timeline import Happened

RECORDED = Path(__file__).parent / "recorded"
PATHS = {"8:0": "sda", "8:16": "sdb"}
LINE = re.compile(r"\s*(-?\d+\.\d+) s  <(\d)> (.*)")


def message(text: str) -> KernelMessage:
    return KernelMessage(0, 4, text)


def recorded(name: str) -> KernelLog:
    lines = (RECORDED / name).read_text().splitlines()
    found = [match for line in lines if (match := LINE.fullmatch(line))]
    assert len(found) == len(lines) - 1
    messages = tuple(KernelMessage(round(float(m[1]) * 1e9), int(m[2]), m[3]) for m in found)
    return KernelLog("initiator", messages, lost=0)


def test_two_silent_drops_are_told_in_full() -> None:
    """Ping timeout, connection error, recovery timeout, path failed, path reinstated; twice."""
    told = [(e.what, e.detail) for e in events(recorded("linux-6.1-silent-drops.txt"), PATHS, 5)]
    assert [what for what, _ in told] == 2 * [
        Happened.CONNECTION_ERROR,
        Happened.CONNECTION_ERROR,
        Happened.RECOVERY_TIMED_OUT,
        Happened.PATH_FAILED,
        Happened.PATH_REINSTATED,
    ]
    assert [detail for _, detail in told if detail in PATHS.values()] == [
        "sda",
        "sda",
        "sdb",
        "sdb",
    ]


def test_an_event_carries_time_source_and_uncertainty() -> None:
    """The time is the record's own."""
    failed = [
        e
        for e in events(recorded("linux-6.1-link-down.txt"), PATHS, 1_640_000)
        if e.what is Happened.PATH_FAILED
    ]
    assert [(e.at_ns, e.source, e.detail, e.uncertainty_ns) for e in failed] == [
        (3_074_000_000, "initiator kernel", "sda", 1_640_000)
    ]


@pytest.mark.parametrize("name", ["linux-6.1-silent-drops.txt", "linux-6.1-link-down.txt"])
def test_losing_a_path_is_neither_trouble_nor_an_error_of_the_map(name: str) -> None:
    """Errors on sda and a rejecting device are what a dead path looks like."""
    assert not [m for m in recorded(name).messages if is_trouble(m) or is_map_error(m)]


@pytest.mark.parametrize("number", ["22", "1020", "1022", "1011"])
def test_connection_errors_of_every_kernel_are_seen(number: str) -> None:
    """The number changed between versions."""
    log = KernelLog("i", (message(f" connection1:0: detected conn error ({number})"),), 0)
    assert [e.what for e in events(log, {}, 0)] == [Happened.CONNECTION_ERROR]


def test_an_unknown_device_is_told_by_its_number() -> None:
    """A path that is gone from the map has no name any more."""
    log = KernelLog("i", (message("device-mapper: multipath: 253:0: Failing path 8:32."),), 0)
    assert [e.detail for e in events(log, PATHS, 0)] == ["8:32"]


@pytest.mark.parametrize(
    "text",
    [
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "BUG: KASAN: use-after-free in multipath_map_bio+0x1c/0x80",
        "kernel BUG at drivers/md/dm-mpath.c:123!",
        "WARNING: CPU: 0 PID: 7 at block/blk-mq.c:1234 blk_mq_run_hw_queue+0x1/0x2",
        "Oops: 0000 [#1] PREEMPT SMP PTI",
        "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        "Kernel panic - not syncing: Fatal exception",
        "INFO: task fio:412 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1:9]",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... } 7 jiffies s: 9",
        "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
        "Internal error: Oops: 0000000096000004 [#1] SMP",
        "WARNING: possible circular locking dependency detected",
        "WARNING: possible recursive locking detected",
        "Unable to handle kernel paging request at virtual address ffff000000000008",
    ],
)
def test_a_defect_of_the_kernel_is_trouble(text: str) -> None:
    """Whatever the storage did, this run cannot be called good."""
    assert is_trouble(message(text))
    log = KernelLog("target", (message(text),), 0)
    assert [e.what for e in events(log, {}, 0)] == [Happened.KERNEL_TROUBLE]


@pytest.mark.parametrize(
    "text",
    [
        "I/O error, dev dm-0, sector 46112 op 0x1:(WRITE) flags 0xca00 phys_seg 4 prio class 2",
        "blk_update_request: I/O error, dev dm-3, sector 8 op 0x0:(READ)",
        "Buffer I/O error on dev dm-0, logical block 0, async page read",
        "critical medium error, dev dm-0, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1",
        "critical target error, dev dm-12, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1",
        "EXT4-fs error (device dm-0): ext4_find_entry:1463: inode #2: comm ls: reading directory",
        'XFS (dm-0): metadata I/O error in "xfs_buf_ioend" at daddr 0x1 len 1 error 5',
    ],
)
def test_an_error_of_the_map_is_one(text: str) -> None:
    """It is what multipath is there to prevent."""
    assert is_map_error(message(text))
    log = KernelLog("initiator", (message(text),), 0)
    assert [e.what for e in events(log, {}, 0)] == [Happened.MAP_ERROR]


@pytest.mark.parametrize(
    "text",
    [
        "I/O error, dev sda, sector 95520 op 0x1:(WRITE) flags 0xca00 phys_seg 4 prio class 2",
        "Buffer I/O error on dev sdb, logical block 0, async page read",
        "critical medium error, dev sda, sector 8",
        "sd 0:0:0:0: rejecting I/O to offline device",
        "sd 0:0:0:0: [sda] tag#74 FAILED Result: hostbyte=DID_TRANSPORT_DISRUPTED",
        "pathproof: test begins",
        "device-mapper: multipath service-time: version 0.3.0 loaded",
        "EXT4-fs (vda): mounted filesystem with ordered data mode. Quota mode: none.",
        "systemd[1]: Started debug-shell.service, a BUG: no, just a name",
        "[Firmware Bug]: TSC doesn't count with P0 frequency!",
        "rcu: Hierarchical RCU implementation.",
        "rcu: \tRCU CPU stall warnings timeout set to 60",
        "printk: 12 messages suppressed, WARNING level",
        "input: AT keyboard [#2] as /devices/platform/i8042/serio0/input/input0",
    ],
)
def test_harmless_lines_say_nothing(text: str) -> None:
    """Errors of a single path, boot messages and words that only look alike."""
    assert not is_map_error(message(text))
    assert not is_trouble(message(text))
    assert list(events(KernelLog("initiator", (message(text),), 0), PATHS, 0)) == []


@given(st.text())
def test_any_text_can_be_in_a_log(text: str) -> None:
    """User space writes there, too."""
    list(events(KernelLog("initiator", (message(text),), 0), PATHS, 0))
