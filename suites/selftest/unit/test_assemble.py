"""From what an observer saw to measurements."""

from __future__ import annotations

from dataclasses import replace

from harness.checks import Verdict, cables_sound, judge, lab_disks_sound
from harness.config import Config
from harness.measurements import ClockReading, KernelLog, KernelMessage, Watching
from harness.observe import Clock, DiskSample, NicSample, Observation, Sample
from harness.testbed.assemble import assemble
from harness.testbed.raw import Raw
from harness.timeline import Happened
from harness.topology import Role
from harness.transport import PathDisk, transport_for
from harness.transport.wording import WORDING
from harness.units import NS_PER_MS, NS_PER_S
from harness.workload import RunResult
from harness.workload.report import FioReport

MARKS = ("begins", "ends")


def observation(machine: str, *texts: str, died: str = "") -> Observation:
    """Of one second, at ten samples a second, by a clock that is an hour ahead."""
    offset_ns = 3600 * NS_PER_S
    return Observation(
        machine,
        Clock((ClockReading(machine, 0, offset_ns, 1), ClockReading(machine, 10**9, offset_ns, 1))),
        tuple(
            Sample(
                offset_ns + at_ns,
                {"vda": DiskSample(0, 0, completed=sent, in_flight=1, state="")},
                {},
                {"eth0": True},
                {"eth0": NicSample(sent, sent + 1, 100 * sent, 100, 2, 3, 4 * sent, 5)},
                wall_ahead_ns=7 + at_ns // 4,
                cpu_ns=at_ns // 50,
            )
            for sent, at_ns in enumerate(range(0, NS_PER_S, 100 * NS_PER_MS))
        ),
        KernelLog(machine, tuple(KernelMessage(0, 6, text) for text in texts), 0),
        marks=MARKS,
        died=died,
    )


def raw_of(*observations: Observation) -> Raw:
    return Raw(
        transport=transport_for(Config()),
        lun="lun0",
        map="lun",
        result=RunResult((), "", FioReport("fio-3.33", ()), "", "", (), {}),
        observations=dict(zip(Role, observations, strict=True)),
        paths=(),
        phases=(),
        settings=(),
        planned=(),
        faults=(),
        read_back=None,
        path_listings={},
        machines=("i", "t"),
        existing=("i",),
    )


def assembled(*observations: Observation) -> dict[str, Watching]:
    return {watching.machine: watching for watching in assemble(raw_of(*observations)).watching}


def test_how_well_each_machine_was_watched_is_measured() -> None:
    """On the host's clock."""
    whole, dead = observation("i", *MARKS), observation("t", "begins", died="killed")
    watching = assembled(whole, dead)
    one = watching["i"]
    assert (one.start_ns, one.end_ns) == (0, NS_PER_S)
    assert one.at_ns.tolist() == list(range(0, NS_PER_S, 100 * NS_PER_MS))
    assert (one.missing_marks, one.died) == ((), "")
    assert (one.samples_per_s, one.cpu_share, one.wall_jump_ns) == (10, 0.02, 25 * NS_PER_MS)
    assert list(one.gaps())[-1] == (900 * NS_PER_MS, NS_PER_S)
    assert (watching["t"].missing_marks, watching["t"].died) == (("ends",), "killed")


def test_machines_that_were_there_before_are_known_to_the_checks() -> None:
    """Others may run programs on them."""
    seen = assemble(raw_of(observation("i", *MARKS), observation("t", *MARKS)))
    assert (seen.machines, seen.existing) == (("i", "t"), ("i",))


def test_a_machine_without_samples_is_no_reason_to_crash() -> None:
    """It is what a check has to see."""
    blind = Observation(
        "i", observation("i").clock, (), observation("i").kernel_log, marks=MARKS, died="killed"
    )
    watching = assembled(blind, observation("t"))["i"]
    assert (watching.samples_per_s, watching.cpu_share, watching.wall_jump_ns) == (0, 0, 0)
    assert list(watching.gaps()) == [(0, NS_PER_S)]


def test_a_target_that_died_has_no_samples_of_its_cables_and_disks() -> None:
    """Nothing was heard of it: what is known of the initiator is judged all the same."""
    both = raw_of(observation("i", *MARKS), observation("t", *MARKS))
    wired = replace(both, cables={"a": dict.fromkeys(Role, "eth0")}, lab_disks=("vda",))
    assert len(assemble(wired).cable_ends) == 2
    initiator = {Role.INITIATOR.value: both.observations[Role.INITIATOR]}
    measured = assemble(replace(wired, observations=initiator))
    assert [end.machine for end in measured.cable_ends] == [initiator[Role.INITIATOR].machine]
    assert [len(disk.at_ns) for disk in measured.lab_disks] == [0]
    for check in (cables_sound(), lab_disks_sound()):
        (finding,) = judge(measured, check).findings
        assert finding.verdict is Verdict.UNKNOWN, finding.message


def test_what_was_meant_and_what_was_done_is_handed_on() -> None:
    """Else a dead target would not be missed, nor an error of our own be told as such."""
    raw = replace(
        raw_of(observation("i"), observation("t")),
        errors_forced=True,
        cut_short="late",
        max_stall_s=2.5,
    )
    measured = assemble(raw)
    assert measured.machines == ("i", "t")
    assert (measured.errors_forced, measured.cut_short) == (True, "late")
    assert measured.max_stall_s == 2.5


def test_both_ends_of_each_cable_are_on_the_hosts_clock() -> None:
    """A cable's two NICs, and none of a link that is not a cable of the lab's own."""
    cables: dict[str, dict[str, str]] = {"a": {Role.TARGET: "eth0", Role.INITIATOR: "eth0"}}
    ends = assemble(replace(raw_of(observation("t"), observation("i")), cables=cables)).cable_ends
    assert [(end.machine, end.link) for end in ends] == [("t", "a"), ("i", "a")]
    assert ends[0].at_ns.tolist()[:2] == [0, 100 * NS_PER_MS]
    assert ends[0].frames_sent.tolist()[:3] == [0, 1, 2]
    assert ends[0].frames_received.tolist()[:3] == [1, 2, 3]
    assert ends[0].bytes_sent.tolist()[:3] == [0, 100, 200]
    assert set(ends[0].bytes_received.tolist()) == {100}
    assert set(ends[0].dropped_sending.tolist()) == {2}
    assert set(ends[0].dropped_receiving.tolist()) == {3}
    assert ends[0].beats.tolist()[:3] == [0, 4, 8]
    assert ends[0].carrier.all()


def test_the_disks_that_the_lab_lends_to_the_target_are_on_the_hosts_clock() -> None:
    """And no others."""
    raw = replace(raw_of(observation("t"), observation("i")), lab_disks=("vda",))
    (disk,) = assemble(raw).lab_disks
    assert (disk.machine, disk.disk) == ("t", "vda")
    assert disk.at_ns.tolist()[:2] == [0, 100 * NS_PER_MS]
    assert disk.completed.tolist()[:3] == [0, 1, 2]
    assert set(disk.in_flight.tolist()) == {1}


def test_what_kernels_said_is_measured_and_need_not_be_parsed_again() -> None:
    """Trouble of either kernel, and what the initiator's said of the disk of a path."""
    error = "I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"
    both = (observation(machine, error, "kernel BUG at mm/slub.c:1!") for machine in "it")
    seen = assemble(replace(raw_of(*both), paths=(PathDisk("a", "sda", "8:0"),)))
    trouble = [event for event in seen.timeline if event.what is Happened.KERNEL_TROUBLE]
    assert {event.source for event in trouble} == {"i kernel", "t kernel"}
    assert [(one.paths, one.text) for one in seen.disk_errors] == [(("a",), error)]
    assert seen.wording == WORDING
