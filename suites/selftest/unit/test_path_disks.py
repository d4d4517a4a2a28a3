"""Paths whose disks change under them, on a machine where others have disks, maps and sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks import (
    Verdict,
    evidence_sound,
    kernel_sound,
    no_io_errors,
    no_unexpected_path_loss,
)
from harness.config import Config
from harness.measurements import ClockReading, KernelLog, KernelMessage, Measurements
from harness.observe import Clock, DiskSample, MapDisk, MapSample, Observation, Sample
from harness.testbed.assemble import assemble
from harness.testbed.raw import Raw
from harness.timeline import Happened
from harness.topology import Role
from harness.transport import transport_for
from harness.transport.lun_devices import Look, LunDevices
from harness.transport.path_disk import PathDisk
from harness.units import NS_PER_S
from harness.workload import RunResult
from harness.workload.report import FioReport
from suites.selftest.unit.judged import found

PATHS = (
    PathDisk("a", "sda", "8:0", "172.16.0.1:3260,default"),
    PathDisk("b", "sdb", "8:16", "172.16.1.1:3260,default"),
)
FIRST = MapDisk("sda", "session1", "172.16.0.1:3260,default")
SECOND = MapDisk("sdb", "session2", "172.16.1.1:3260,default")
AGAIN = MapDisk("sdc", "session5", "172.16.1.1:3260,default")


def sample(
    at_s: int,
    paths: dict[str, str],
    disks: dict[str, DiskSample],
    *,
    in_map: dict[str, MapDisk] | None = None,
) -> Sample:
    seen = MapSample(paths, number="253:0", disks=in_map or {})
    return Sample(at_s * NS_PER_S, disks, {"lun": seen}, {}, {}, 0, 0)


def disk(carried: int, state: str = "running") -> DiskSample:
    return DiskSample(carried, 2 * carried, completed=0, in_flight=0, state=state)


def moving() -> tuple[Sample, ...]:
    """The second path fails at 2 s, is gone at 4 s, and back as another disk at 6 s.

    What was its disk is somebody else's from 5 s on. Every other sample tells of the map's disks.
    """
    both = {"8:0": FIRST, "8:16": SECOND}
    ok, lost = {"8:0": "active", "8:16": "active"}, {"8:0": "active", "8:16": "failed"}
    back = {"8:0": "active", "8:32": "active"}
    return (
        sample(0, ok, {"sda": disk(10), "sdb": disk(10)}, in_map=both),
        sample(1, ok, {"sda": disk(20), "sdb": disk(20)}),
        sample(2, lost, {"sda": disk(30), "sdb": disk(20, "blocked")}, in_map=both),
        sample(3, lost, {"sda": disk(40), "sdb": disk(20, "transport-offline")}),
        sample(4, {"8:0": "active"}, {"sda": disk(50)}, in_map={"8:0": FIRST}),
        sample(5, {"8:0": "active"}, {"sda": disk(60), "sdb": disk(900)}),
        sample(6, back, {"sda": disk(70), "sdb": disk(990)}),
        sample(7, back, {"sda": disk(75), "sdc": disk(5)}, in_map={"8:0": FIRST, "8:32": AGAIN}),
        sample(8, back, {"sda": disk(80), "sdb": disk(999), "sdc": disk(15)}),
    )


def measured(
    samples: tuple[Sample, ...],
    lines: tuple[tuple[float, str], ...] = (),
    role: Role = Role.INITIATOR,
) -> Measurements:
    """As assembled; the lines are in the kernel log of the machine in that role."""
    clock = Clock((ClockReading("i", 0, 0, 1), ClockReading("i", 9 * NS_PER_S, 0, 1)))
    messages = tuple(KernelMessage(int(at_s * NS_PER_S), 4, text) for at_s, text in lines)
    mark = KernelMessage(0, 4, "mark")
    seen: dict[str, Observation] = {
        each: Observation(
            each.value,
            clock,
            samples if each is Role.INITIATOR else (),
            KernelLog(each.value, (mark, *(messages if each is role else ())), 0),
            marks=("mark", "mark"),
        )
        for each in Role
    }
    return assemble(
        Raw(
            transport=transport_for(Config()),
            lun="lun0",
            map="lun",
            result=RunResult((), "", FioReport("fio-3.33", ()), "", "", (), {}),
            observations=seen,
            paths=PATHS,
            phases=(),
            settings=(),
            planned=(),
            faults=(),
            read_back=None,
            path_listings={},
            machines=tuple(Role),
            existing=(),
        )
    )


def test_a_path_is_the_same_with_another_disk() -> None:
    """It is where its session goes."""
    states = [seen.states["b"] for seen in measured(moving()).path_states]
    assert states == ["active"] * 2 + ["failed"] * 2 + ["missing"] * 2 + ["active"] * 3
    assert {seen.states["a"] for seen in measured(moving()).path_states} == {"active"}


def test_a_disk_that_was_not_in_the_map_before_joins_it() -> None:
    """In the beginning, and when its path is back."""
    joined = [seen.joined for seen in measured(moving()).path_states]
    assert joined == [{"a", "b"}, *[set()] * 5, {"b"}, set(), set()]


def test_the_bytes_of_all_its_disks_are_the_paths() -> None:
    """And none of those that somebody else's disk of the old name carried."""
    first, second = measured(moving()).counters
    assert first.bytes_read.tolist() == [10, 20, 30, 40, 50, 60, 70, 75, 80]
    assert (second.at_ns // NS_PER_S).tolist() == list(range(9))
    assert second.bytes_read.tolist() == [10, 20, *[20] * 5, 25, 35]
    assert second.bytes_written.tolist() == [20, 40, *[40] * 5, 50, 70]
    assert (second.path, second.disks) == ("b", ("sdb", "sdc"))


def test_a_path_without_a_disk_carries_nothing() -> None:
    """That is known, and not unseen; before its first disk nothing is."""
    _, second = measured(moving()).counters
    assert second.between(4 * NS_PER_S, 6 * NS_PER_S) == 0
    later = tuple(
        sample(at_s, {"8:0": "active"}, {"sda": disk(9)} if at_s > 1 else {}, in_map={"8:0": FIRST})
        for at_s in range(4)
    )
    assert (measured(later).counters[0].at_ns // NS_PER_S).tolist() == [2, 3]


def test_a_disk_that_is_made_anew_under_its_name_counts_on() -> None:
    """The kernel begins to count at 0 again."""
    samples = tuple(
        sample(at_s, {"8:0": "active"}, {"sda": disk(carried)}, in_map={"8:0": FIRST})
        for at_s, carried in enumerate((10, 30, 4, 9))
    )
    assert measured(samples).counters[0].bytes_read.tolist() == [10, 30, 34, 39]


def test_a_session_is_back_when_its_new_disk_runs() -> None:
    events = [e for e in measured(moving()).timeline if e.what is Happened.SESSION_RECOVERED]
    assert [(e.at_ns // NS_PER_S, e.path, e.detail) for e in events] == [(7, "b", "b")]


LINES = (
    (1.5, " connection2:0: detected conn error (1022)", "b"),
    (1.6, " connection9:0: detected conn error (1022)", None),
    (1.7, " session2: session recovery timed out after 1 secs", "b"),
    (1.8, "device-mapper: multipath: 253:0: Failing path 8:16.", "b"),
    (1.8, "device-mapper: multipath: Failing path 8:16.", "b"),
    (1.9, "device-mapper: multipath: 253:7: Failing path 8:48.", None),
    (1.9, "device-mapper: multipath: Failing path 8:48.", None),
    (6.8, " connection5:0: detected conn error (1020)", "b"),
    (7.5, "device-mapper: multipath: Failing path 8:16.", None),
    (7.5, "device-mapper: multipath: Failing path 8:32.", "b"),
    (7.5, "device-mapper: multipath: 253:0: Reinstating path 8:32.", "b"),
    (7.6, "Buffer I/O error on dev dm-7, logical block 12, async page read", None),
    (7.6, "EXT4-fs error (device sdq1): ext4_find_entry:1463: inode #2: comm ls: reading", None),
    (7.6, "I/O error, dev dm-0, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2", ""),
)


def test_the_log_is_read_by_what_the_paths_disks_were_then() -> None:
    """Of both forms of the kernel's lines; what is about others is no event."""
    lines = tuple((at_s, text) for at_s, text, _ in LINES)
    expected = [(at_s, path) for at_s, _, path in LINES if path is not None]
    told = [
        (e.at_ns / NS_PER_S, e.path)
        for e in measured(moving(), lines).timeline
        if e.source == "initiator kernel"
    ]
    assert told == expected
    assert [
        e for e in measured(moving(), lines, Role.TARGET).timeline if "kernel" in e.source
    ] == []


@pytest.mark.parametrize("number", ["253:0: ", ""])
@pytest.mark.parametrize("last", ["active", "failed"])
def test_a_path_lost_without_a_fault_fails_on_every_kernel(number: str, last: str) -> None:
    """Up to 5.7 by the disk alone; whether it comes back or not."""
    states = ("active", "active", "failed", "failed", last, last)
    samples = tuple(
        sample(at_s, {"8:0": "active", "8:16": state}, {}, in_map={"8:0": FIRST, "8:16": SECOND})
        for at_s, state in enumerate(states)
    )
    lines = [(2.0, f"device-mapper: multipath: {number}Failing path 8:16.")]
    if last == "active":
        lines.append((4.0, f"device-mapper: multipath: {number}Reinstating path 8:16."))
    finding = found(no_unexpected_path_loss(), measured(samples, tuple(lines)))
    assert (finding.verdict, finding.message) == (
        Verdict.FAIL,
        "paths failed without a fault there: b",
    )


@pytest.mark.parametrize("number", ["253:7: ", ""])
def test_what_befalls_other_luns_fails_no_lun(number: str) -> None:
    """Another map loses its path, and another file system its disk."""
    samples = tuple(
        sample(at_s, {"8:0": "active", "8:16": "active"}, {}, in_map={"8:16": SECOND})
        for at_s in range(6)
    )
    lines = (
        (2.0, f"device-mapper: multipath: {number}Failing path 8:48."),
        (3.0, "Buffer I/O error on dev dm-7, logical block 12, async page read"),
        (3.0, "EXT4-fs error (device sdq1): ext4_find_entry:1463: inode #2: comm ls: reading"),
    )
    seen = measured(samples, lines)
    assert found(no_unexpected_path_loss(), seen).verdict is Verdict.PASS
    assert found(kernel_sound(), seen).verdict is Verdict.PASS
    assert found(no_io_errors(), seen).message == "no I/O was measured"


def test_paths_may_exchange_their_disks() -> None:
    """Both sessions ended, and each found its disk under the number of the other."""
    crossed = {
        "8:0": MapDisk("sda", "session5", SECOND.origin),
        "8:16": MapDisk("sdb", "session6", FIRST.origin),
    }
    now = {"8:0": "failed", "8:16": "active"}
    samples = (
        *moving()[:2],
        sample(2, {}, {}),
        sample(3, now, {"sda": disk(1), "sdb": disk(2)}, in_map=crossed),
    )
    line = (3.0, "device-mapper: multipath: Failing path 8:0.")
    crossing = measured(samples, (line,))
    assert crossing.path_states[-1].states == {"a": "active", "b": "failed"}
    assert [e.path for e in crossing.timeline if e.what is Happened.PATH_FAILED] == ["b"]
    assert [c.bytes_read.tolist() for c in crossing.counters] == [
        [10, 20, 20, 22],
        [10, 20, 20, 21],
    ]


def test_a_number_that_left_the_map_is_not_the_same_disk_when_it_is_back() -> None:
    """What it is then is told a little later, and holds from when it was there."""
    crossed = MapDisk("sda", "session5", SECOND.origin)
    samples = (
        *moving()[:2],
        sample(2, {"8:16": "active"}, {}),
        sample(3, {"8:0": "failed"}, {}),
        sample(4, {"8:0": "failed"}, {}, in_map={"8:0": crossed}),
    )
    states = [seen.states for seen in measured(samples).path_states[2:]]
    lost = {"a": "missing", "b": "failed"}
    assert states == [{"a": "missing", "b": "active"}, lost, lost]


@pytest.mark.parametrize("state", ["active", "failed"])
def test_an_old_disk_may_stay_in_the_map_beside_the_new_one(state: str) -> None:
    """The path is as good as the better of the two."""
    disks = {"8:0": FIRST, "8:16": SECOND, "8:32": AGAIN}
    paths = {"8:0": "active", "8:16": "failed", "8:32": state}
    samples = (*moving()[:2], sample(2, paths, {}, in_map=disks))
    assert measured(samples).path_states[-1].states["b"] == state


def test_a_path_may_have_another_disk_from_the_start() -> None:
    """It came back so in an earlier test, and somebody else has got what was its disk."""
    first, second = moving()[7:]
    last = (replace(first, disks={**first.disks, "sdb": disk(990)}), second)
    assert [seen.states["b"] for seen in measured(last).path_states] == ["active"] * 2
    assert measured(last).counters[1].bytes_read.tolist() == [5, 15]
    line = (7.5, "device-mapper: multipath: Failing path 8:32.")
    told = measured(last, (line, (7.5, " connection5:0: detected conn error (1022)"))).timeline
    assert [e.path for e in told] == ["b", "b"]


def test_a_disk_over_an_unplanned_portal_is_no_path_that_was_planned() -> None:
    """Not even under the number of one; its loss is told by that."""
    stray = MapDisk("sdb", "session8", "172.16.9.1:3260,default")
    samples = (sample(0, {"8:16": "active"}, {}, in_map={"8:16": stray}),) * 2
    line = (0, "device-mapper: multipath: Failing path 8:16.")
    assert measured(samples).path_states[0].states == {"a": "missing", "b": "missing"}
    assert [e.path for e in measured(samples, (line,)).timeline] == ["8:16"]


STRAY = MapDisk("sdd", "session8", "172.16.9.1:3260,default")


def joined_by(stray: MapDisk | None, *, until_s: int = 6) -> tuple[Sample, ...]:
    """From 2 s on the map has a disk more; of what it is, only what `stray` tells."""
    planned = {"8:0": FIRST, "8:16": SECOND}
    active = {"8:0": "active", "8:16": "active"}
    told = planned if stray is None else {**planned, "8:48": stray}
    return tuple(
        sample(at_s, {**active, "8:48": "active"}, {}, in_map=told)
        if 2 <= at_s < until_s
        else sample(at_s, active, {}, in_map=planned)
        for at_s in range(8)
    )


@pytest.mark.parametrize(
    ("stray", "says"),
    [
        (STRAY, "sdd (8:48) of the map runs over no planned portal"),
        (MapDisk("sdd", "", ""), "sdd (8:48) of the map runs over no planned portal"),
        (None, "it is not known which path 8:48 of the map was"),
    ],
    ids=["another portal", "no iSCSI", "gone at once"],
)
@pytest.mark.parametrize("number", ["253:0: ", ""])
def test_the_loss_of_a_disk_that_was_not_planned_proves_nothing(
    stray: MapDisk | None, says: str, number: str
) -> None:
    """Somebody else logged in to another portal of the array, and out again."""
    line = (5.0, f"device-mapper: multipath: {number}Failing path 8:48.")
    seen = measured(joined_by(stray), (line,))
    assert [str(disk) for disk in seen.unplanned_disks] == [says]
    evidence = found(evidence_sound(), seen)
    assert evidence.verdict is Verdict.UNKNOWN
    assert says in evidence.message
    loss = found(no_unexpected_path_loss(), seen)
    assert (loss.verdict, loss.message) == (
        Verdict.UNKNOWN,
        "failed, and not known to be a planned path: 8:48",
    )
    assert loss.numbers["paths_given_up"] == 0
    both = (line, (5.0, f"device-mapper: multipath: {number}Failing path 8:16."))
    down = [_second_failed(one) for one in joined_by(stray)[5:]]
    lost = found(no_unexpected_path_loss(), measured((*joined_by(stray)[:5], *down), both))
    assert (lost.verdict, lost.message) == (
        Verdict.FAIL,
        "paths failed without a fault there: b",
    )


def _second_failed(one: Sample) -> Sample:
    seen = one.maps["lun"]
    return replace(one, maps={"lun": replace(seen, paths={**seen.paths, "8:16": "failed"})})


def test_a_disk_that_was_not_planned_is_told_from_when_it_came_until_it_went() -> None:
    assert measured(moving()).unplanned_disks == ()
    (disk,) = measured(joined_by(STRAY)).unplanned_disks
    assert (disk.start_ns, disk.end_ns) == (2 * NS_PER_S, 5 * NS_PER_S)


def test_a_path_whose_session_is_going_is_still_that_path() -> None:
    """The kernel takes the connection away before the disk, and the portal with it."""
    going = {"8:0": FIRST, "8:32": replace(AGAIN, origin="")}
    last = moving()[-1]
    seen = replace(last.maps["lun"], disks=going)
    samples = (*moving()[:-1], replace(last, maps={"lun": seen}))
    assert measured(samples).unplanned_disks == ()
    assert measured(samples).path_states == measured(moving()).path_states
    line = (8.0, "device-mapper: multipath: Failing path 8:32.")
    assert [e.path for e in measured(samples, (line,)).timeline if "kernel" in e.source] == ["b"]


def test_what_is_not_told_of_the_disks_is_as_it_was_planned() -> None:
    """As of disks that are none of iSCSI."""
    samples = tuple(
        replace(one, maps={"lun": replace(one.map("lun"), disks={})}) for one in moving()
    )
    states = [seen.states["b"] for seen in measured(samples).path_states]
    assert states == ["active"] * 2 + ["failed"] * 2 + ["missing"] * 5


@pytest.mark.parametrize(("at_s", "known"), [(1.05, True), (1.5, True), (2.3, False)])
@pytest.mark.parametrize("later", [False, True])
def test_a_number_means_what_it_meant_within_a_second(
    at_s: float, known: bool, later: bool
) -> None:
    """The line may come some samples after the last that had it, or before the first."""
    had, has_not = ("253:0", {"8:16": "b"}), ("253:1", {"8:32": "b"})
    looks = [Look(n * NS_PER_S // 10, *(had if n <= 10 else has_not)) for n in range(40)]
    at_ns = int(at_s * NS_PER_S)
    if later:  # the same, backwards in time
        end_ns = looks[-1].at_ns
        looks = [replace(look, at_ns=end_ns - look.at_ns) for look in reversed(looks)]
        at_ns = end_ns - at_ns
    lun = LunDevices(looks)
    assert lun.path("8:16", at_ns) == ("b" if known else None)
    assert lun.has_map("253:0", at_ns) is known
    assert lun.has_map_minor("0", at_ns) is known


def test_a_sample_without_a_group_in_use_tells_of_no_path_in_reserve() -> None:
    """Nor that there is none."""
    (first, *_) = moving()
    looks = (None, frozenset[str](), frozenset({"8:16"}))
    maps = [{"lun": replace(first.map("lun"), reserve=reserve)} for reserve in looks]
    states = measured(tuple(replace(first, maps=one) for one in maps)).path_states
    assert [seen.reserve for seen in states] == [None, frozenset(), frozenset({"b"})]
