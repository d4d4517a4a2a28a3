"""The disks that the lab lends to a target: what a check says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.lab_disks import longest_disk_standstill
from harness.checks import (
    Check,
    Finding,
    Verdict,
    judge,
    lab_disks_sound,
    no_io_errors,
    no_stall_beyond,
    promise_kept,
    undisturbed,
)
from harness.measurements import LabDisk, Measurements
from harness.observe.sample import parse_sample
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import good
from suites.selftest.unit.synthetic_failover import END, INJECTED, START

AT_NS = np.arange(START, END, 196 * NS_PER_MS, dtype=np.int64)
FROM = START + 2 * NS_PER_S


def disk(still_s: float = 0.0, *, in_flight: int = 3, start_ns: int = FROM) -> LabDisk:
    """A disk that completes 50 I/Os a second, but for a time."""
    moved = np.where(start_ns > AT_NS, AT_NS, np.maximum(start_ns, AT_NS - int(still_s * NS_PER_S)))
    completed = (moved - START) * 50 // NS_PER_S
    return LabDisk("target", "vda", AT_NS, np.full_like(AT_NS, in_flight), completed)


def with_disk(one: LabDisk) -> Measurements:
    return replace(good(), lab_disks=(one,))


def found(measured: Measurements, check: Check) -> Finding:
    return judge(measured, check).findings[0]


def test_a_disk_that_goes_on_is_sound() -> None:
    finding = found(with_disk(disk()), lab_disks_sound())
    assert finding.verdict is Verdict.PASS
    assert finding.numbers == {"vda_longest_standstill_s": 0.0}


def test_a_disk_that_stands_still_is_the_labs_fault() -> None:
    """Never the storage's: unknown, with the figures."""
    finding = found(with_disk(disk(2)), lab_disks_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert "the lab's disk vda of the target stood still: none of 3 I/Os" in finding.message


@given(st.floats(0.5, 5.0))
def test_a_standstill_is_never_made_longer_than_it_was(seconds: float) -> None:
    """It is a lower bound, and a close one."""
    still = longest_disk_standstill(disk(seconds))
    assert still is not None
    assert seconds - 0.45 <= still.seconds <= seconds + 1 / 50


def test_a_disk_that_has_nothing_to_do_does_not_stand_still() -> None:
    assert longest_disk_standstill(disk(5, in_flight=0)) is None


def test_a_machine_that_was_not_watched_is_no_witness() -> None:
    """A target that is paused completes nothing."""
    one = disk(2)
    kept = (AT_NS < FROM) | (AT_NS > FROM + 2 * NS_PER_S)
    columns = {name: getattr(one, name)[kept] for name in ("at_ns", "in_flight", "completed")}
    assert longest_disk_standstill(replace(one, **columns)) is None


def test_a_disk_that_was_not_sampled_is_unknown() -> None:
    """Nothing seen is no pass."""
    none = np.array([], dtype=np.int64)
    finding = found(with_disk(LabDisk("target", "vda", none, none, none)), lab_disks_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "the lab's disk vda of the target was not sampled"


def test_the_disks_of_an_existing_target_are_no_business_of_the_check() -> None:
    finding = found(good(), lab_disks_sound())
    assert (finding.verdict, finding.message) == (Verdict.PASS, "no disk is the lab's own")


def test_a_failure_is_unknown_if_a_disk_of_the_lab_may_have_caused_it() -> None:
    """A stall proves nothing against the storage then; an I/O error still does."""
    stalled = with_disk(disk(2, start_ns=INJECTED))
    assert found(replace(stalled, lab_disks=()), no_stall_beyond(1.0)).verdict is Verdict.FAIL
    assert found(with_disk(disk(2)), no_stall_beyond(1.0)).verdict is Verdict.FAIL
    finding = found(stalled, no_stall_beyond(1.0))
    assert finding.verdict is Verdict.UNKNOWN
    assert "but the lab's disk vda of the target stood still" in finding.message
    assert not no_io_errors().through_the_lab


def test_both_promises_ask_about_the_disks() -> None:
    for promise in (promise_kept(), undisturbed(1.0)):
        assert "lab disks sound" in {check.name for check in promise}


def test_a_sample_tells_what_waits_and_what_is_done() -> None:
    """Lines of /sys/block/vda/stat, of kernels 6.1 and 4.18 (without flushes)."""
    stats = {
        "vda": "    1375      410    90186     2841     1087     1391    40760     1934        3 "
        "    2552     5077        2        0      128        1      118      301",
        "vdb": "1375 410 90186 2841 1087 1391 40760 1934 0 2552 5077 2 0 128 1",
    }
    sample = parse_sample(
        {
            "sample": 1,
            "disks": {name: [stat, ""] for name, stat in stats.items()},
            "maps": {},
            "carriers": {},
            "nics": {},
            "beats": {},
            "changes": {},
            "ahead": 0,
            "cpu": 0,
        }
    )
    assert (sample.disks["vda"].in_flight, sample.disks["vda"].completed) == (3, 2582)
    assert (sample.disks["vdb"].in_flight, sample.disks["vdb"].completed) == (0, 2464)
    assert sample.disks["vda"].bytes_written == 40760 * 512
