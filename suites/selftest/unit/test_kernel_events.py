"""What a kernel log says: the story of a path, errors that must not be, and harmless lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.kernel_trouble import is_trouble, troubles
from harness.measurements import KernelLog, KernelMessage
from harness.timeline import Happened
from harness.transport.dm_multipath.kernel_log import is_map_error
from harness.transport.kernel_events import events
from harness.transport.lun_devices import Look, LunDevices

RECORDED = Path(__file__).parent / "recorded"
PATHS = {"8:0": "a", "8:16": "b"}
LUN = LunDevices((Look(0, "253:0", PATHS),), {"session1": "a", "session2": "b"})
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
    told = [(e.what, e.detail) for e in events(recorded("linux-6.1-silent-drops.txt"), LUN, 5)]
    assert [what for what, _ in told] == 2 * [
        Happened.CONNECTION_ERROR,
        Happened.CONNECTION_ERROR,
        Happened.RECOVERY_TIMED_OUT,
        Happened.PATH_FAILED,
        Happened.PATH_REINSTATED,
    ]
    assert [detail for _, detail in told if detail in PATHS.values()] == [
        "a",
        "a",
        "b",
        "b",
    ]


DMESG = re.compile(r"\[ *(\d+\.\d+)\] (.*)")


def from_dmesg(name: str) -> KernelLog:
    found = [DMESG.fullmatch(line) for line in (RECORDED / name).read_text().splitlines()]
    messages = [KernelMessage(round(float(m[1]) * 1e9), 4, m[2]) for m in found if m]
    assert len(messages) == len(found)
    return KernelLog("initiator", tuple(messages), lost=0)


def test_a_silent_loss_is_told_in_the_words_of_5_10() -> None:
    """With its own numbers: neither the session nor the map is the first."""
    lun = LunDevices((Look(0, "254:0", {"8:16": "b"}),), {"session13": "b"})
    found = list(events(from_dmesg("linux-5.10-silent-loss-dmesg.txt"), lun, 0))
    assert [(e.what, e.path) for e in found] == [
        (Happened.CONNECTION_ERROR, "b"),
        (Happened.RECOVERY_TIMED_OUT, "b"),
        (Happened.PATH_FAILED, "b"),
        (Happened.PATH_REINSTATED, "b"),
    ]
    assert list(events(from_dmesg("linux-5.10-silent-loss-dmesg.txt"), LUN, 0)) == []


def test_an_error_on_the_map_is_told_in_the_words_of_4() -> None:
    """Of the three lines only the one that names the map."""
    found = list(events(from_dmesg("linux-4.x-medium-error-dmesg.txt"), LUN, 0))
    assert [e.detail for e in found] == [
        "print_req_error: critical medium error, dev dm-0, sector 177668608"
    ]


def test_an_event_carries_time_source_and_uncertainty() -> None:
    """The time is the record's own."""
    failed = [
        e
        for e in events(recorded("linux-6.1-link-down.txt"), LUN, 1_640_000)
        if e.what is Happened.PATH_FAILED
    ]
    assert [(e.at_ns, e.source, e.detail, e.uncertainty_ns) for e in failed] == [
        (3_074_000_000, "initiator kernel", "a", 1_640_000)
    ]


@pytest.mark.parametrize("name", ["linux-6.1-silent-drops.txt", "linux-6.1-link-down.txt"])
def test_losing_a_path_is_neither_trouble_nor_an_error_of_the_map(name: str) -> None:
    """Errors on sda and a rejecting device are what a dead path looks like."""
    assert not [m for m in recorded(name).messages if is_trouble(m) or is_map_error(m, LUN)]


def test_a_device_handler_that_is_attached_tells_nothing_of_a_path() -> None:
    """It reads the access states of both groups; "state A" is no state of the path."""
    log = from_dmesg("linux-6.1-alua-attached-dmesg.txt")
    assert sum("alua: port group" in message.text for message in log.messages) == 2
    assert list(events(log, LUN, 0)) == []


def test_a_device_handler_at_work_is_not_taken_for_a_path_that_comes_back() -> None:
    """It made the other group optimized at 3.2 s; multipathd then made the map anew."""
    found = list(events(recorded("linux-6.1-alua-explicit.txt"), LUN, 0))
    assert [(e.what, e.path, e.at_ns // 10**9) for e in found] == [
        (Happened.CONNECTION_ERROR, "a", 2),
        (Happened.CONNECTION_ERROR, "a", 2),
        (Happened.RECOVERY_TIMED_OUT, "a", 3),
        (Happened.PATH_FAILED, "a", 3),
        (Happened.PATH_FAILED, "a", 4),
        (Happened.PATH_REINSTATED, "a", 15),
    ]


def told(text: str, lun: LunDevices = LUN) -> list[tuple[Happened, str]]:
    """What a line of the initiator's log says, and of which path."""
    log = KernelLog("i", (message(text),), 0)
    return [(e.what, e.path) for e in (*events(log, lun, 0), *troubles(log, 0))]


@pytest.mark.parametrize("number", ["22", "1011", "1019", "1020", "1021", "1022"])
def test_connection_errors_of_every_kind_are_seen(number: str) -> None:
    """Of 2.6, and of those with ISCSI_ERR_BASE: failed, not sent, closed, reset, no answer."""
    text = f" connection1:0: detected conn error ({number})"
    assert told(text) == [(Happened.CONNECTION_ERROR, "a")]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        # Debian 11 (5.10), from public notes on multipath; with the numbers of this file.
        (" connection2:0: detected conn error (1022)", Happened.CONNECTION_ERROR),
        (" session2: session recovery timed out after 5 secs", Happened.RECOVERY_TIMED_OUT),
        ("device-mapper: multipath: 253:0: Failing path 8:16.", Happened.PATH_FAILED),
        ("device-mapper: multipath: 253:0: Reinstating path 8:16.", Happened.PATH_REINSTATED),
        # Up to 5.7, without the map's number: as a tool for XenServer 8 (4.19) has them.
        ("device-mapper: multipath: Failing path 8:16.", Happened.PATH_FAILED),
        ("device-mapper: multipath: Reinstating path 8:16.", Happened.PATH_REINSTATED),
        # 2.6, from a mail about scsi_init_io().
        ("device-mapper: dm-multipath: Failing path 8:16.", Happened.PATH_FAILED),
    ],
)
def test_every_kernel_tells_the_story_of_a_path(text: str, what: Happened) -> None:
    """In the words of its version."""
    assert told(text) == [(what, "b")]


@pytest.mark.parametrize(
    "text",
    [
        " connection9:0: ping timeout of 5 secs expired, recv timeout 5, last rx 4297654658, …",
        " connection9:0: detected conn error (1022)",
        " connection11:0: detected conn error (1020)",
        " session9: session recovery timed out after 5 secs",
        "device-mapper: multipath: 253:7: Failing path 8:48.",
        "device-mapper: multipath: 253:7: Failing path 8:16.",
        "device-mapper: multipath: 253:7: Reinstating path 8:48.",
        "device-mapper: multipath: 253:10: Failing path 8:48.",
        "device-mapper: multipath: Failing path 8:48.",
        "device-mapper: multipath: Reinstating path 8:160.",
        "Buffer I/O error on dev dm-7, logical block 12, async page read",
        "I/O error, dev dm-10, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "blk_update_request: critical target error, dev dm-3, sector 8 op 0x0:(READ) flags 0x0",
        "print_req_error: critical medium error, dev dm-1, sector 177668608",
        "blk_update_request: I/O error, dev sdq, sector 0 op 0x1:(WRITE) flags 0x800 phys_seg 0",
        "EXT4-fs error (device sdq1): ext4_find_entry:1463: inode #2: comm ls: reading directory",
        "EXT4-fs error (device dm-1): ext4_journal_check_start:61: Detected aborted journal",
        "EXT4-fs (sdq1): I/O error while writing superblock",
        'XFS (dm-4): metadata I/O error in "xfs_read_agf+0x9d/0x140" at daddr 0x207958 len 8',
        "XFS (sdq1): log I/O error -5",
        "Aborting journal on device sdq1-8.",
        "BTRFS error (device sda4): bdev /dev/sda4 errs: wr 66, rd 725, flush 0, corrupt 0, gen 0",
        "Memory cgroup out of memory: Killed process 4711 (java) total-vm:1024kB",
    ],
)
def test_what_befalls_somebody_else_is_not_told(text: str) -> None:
    """Other sessions, maps, disks and file systems of the machine; no verdict depends on them."""
    assert told(text) == []


def test_an_unplanned_disk_of_the_map_is_told_by_its_number() -> None:
    """By the map's number it is the LUN's, though it was never seen there."""
    text = "device-mapper: multipath: 253:0: Failing path 8:32."
    assert told(text) == [(Happened.PATH_FAILED, "8:32")]


SECOND = 10**9
MOVING = LunDevices(
    (
        *(Look(at * SECOND, "253:0", PATHS) for at in range(10)),
        *(Look(at * SECOND, "", {}) for at in range(10, 20)),
        *(Look(at * SECOND, "253:4", {"8:0": "a", "8:64": "b"}) for at in range(20, 30)),
    )
)


@pytest.mark.parametrize(
    ("at_s", "text", "path"),
    [
        (5, "multipath: 253:0: Failing path 8:16.", "b"),
        (5, "multipath: Failing path 8:16.", "b"),
        (5, "multipath: Failing path 8:64.", None),
        (15, "multipath: 253:0: Failing path 8:16.", None),
        (15, "multipath: Failing path 8:16.", None),
        (25, "multipath: 253:0: Failing path 8:16.", None),
        (25, "multipath: Failing path 8:16.", None),
        (25, "multipath: 253:4: Failing path 8:64.", "b"),
        (25, "multipath: Failing path 8:64.", "b"),
        (25, "multipath: Failing path 8:0.", "a"),
        (-3, "multipath: Failing path 8:16.", "b"),
        (99, "multipath: Failing path 8:64.", "b"),
    ],
)
def test_numbers_mean_what_they_meant_then(at_s: int, text: str, path: str | None) -> None:
    """A path came back with another disk, the map was made anew, and others got the old numbers."""
    log = KernelLog("i", (KernelMessage(at_s * SECOND, 4, f"device-mapper: {text}"),), 0)
    assert [e.path for e in events(log, MOVING, 0)] == ([path] if path else [])


def test_an_error_is_the_maps_if_it_had_that_number_then() -> None:
    """dm-4 was somebody else's at first, and so is dm-0 later."""

    def at(at_s: int, name: str) -> bool:
        text = f"I/O error, dev {name}, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"
        return is_map_error(KernelMessage(at_s * SECOND, 3, text), MOVING)

    assert (at(5, "dm-0"), at(5, "dm-4")) == (True, False)
    assert (at(15, "dm-0"), at(15, "dm-4")) == (False, False)
    assert (at(25, "dm-0"), at(25, "dm-4")) == (False, True)


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
        "INFO: task fio:412 blocked in I/O wait for more than 120 seconds.",  # 7.2
        "WARNING: block/blk-mq.c:1234 at blk_mq_run_hw_queue+0x1/0x2, CPU#0: kworker/0:1/7",  # 7.2
        "Out of memory: Kill process 4711 (fio) score 5 or sacrifice child",  # 4.18
        "Out of memory: Killed process 4711 (fio) total-vm:1024kB, anon-rss:8kB, file-rss:4kB",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1:9]",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "UBSAN: array-index-out-of-bounds in drivers/net/ethernet/example/hw.c:412:21",
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
    assert told(text, LunDevices()) == [(Happened.KERNEL_TROUBLE, "")]
    assert told(text) == [(Happened.KERNEL_TROUBLE, "")]


def test_a_program_that_crashes_is_no_trouble_of_the_kernel() -> None:
    """The first is real, of 6.1; the second has the words of older kernels."""
    for text in (
        "traps: python3[315] general protection fault ip:7fa348da6000 sp:7ffc7a6dcee8 error:0",
        "traps: mysqld[4711] general protection ip:7fa348da6000 sp:7ffc7a6dcee8 error:0",
    ):
        assert not is_trouble(message(text))


@pytest.mark.parametrize(
    "text",
    [
        "I/O error, dev dm-0, sector 46112 op 0x1:(WRITE) flags 0xca00 phys_seg 4 prio class 2",
        "end_request: I/O error, dev dm-0, sector 14166400",  # 3.x
        "print_req_error: critical medium error, dev dm-0, sector 177668608",  # 4.x
        "blk_update_request: I/O error, dev dm-0, sector 2128216 op 0x0:(READ) flags 0x1000",  # 5.x
        "Buffer I/O error on dev dm-0, logical block 0, async page read",
        "critical medium error, dev dm-0, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1",
        "critical target error, dev dm-0, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1",
        "EXT4-fs error (device dm-0): ext4_find_entry:1463: inode #2: comm ls: reading directory",
        "EXT4-fs error (device dm-0) in ext4_reserve_inode_write:5618: Journal has aborted",
        "EXT4-fs warning (device dm-0): ext4_end_bio:342: I/O error 10 writing to inode 395221",
        "EXT4-fs (dm-0): I/O error while writing superblock",
        "Aborting journal on device dm-0-8.",
        "JBD2: I/O error when updating journal superblock for dm-0-8.",
        "Buffer I/O error on device dm-0, logical block 1978630",
        "Buffer I/O error on dev dm-0, logical block 0, lost sync page write",
        'XFS (dm-0): metadata I/O error in "xfs_buf_ioend" at daddr 0x1 len 1 error 5',
        "XFS (dm-0): log I/O error -5",
        "XFS (dm-0): Log I/O Error (0x2) detected at xlog_ioend_work+0x60/0xb0 [xfs]",
        "dm-0: writeback error on inode 34294626, offset 617472, sector 23879134",
        "BTRFS error (device dm-0): bdev /dev/dm-0 errs: wr 1, rd 0, flush 0, corrupt 0, gen 0",
    ],
)
def test_an_error_of_the_map_is_one(text: str) -> None:
    """It is what multipath is there to prevent; on a machine without the map it is another's."""
    assert told(text) == [(Happened.MAP_ERROR, "")]
    assert told(text, LunDevices()) == []
    assert told(text.replace("dm-0", "dm-7")) == []


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
    assert told(text) == []


@given(st.text())
def test_any_text_can_be_in_a_log(text: str) -> None:
    """User space writes there, too."""
    list(events(KernelLog("initiator", (message(text),), 0), LUN, 0))
