"""An array that moves I/O from one group of paths to the other without a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.checks import Finding, Verdict, no_trouble_without_a_fault
from harness.checks.kernel import MAP_UNSEEN
from harness.measurements import DiskError, KernelLog, Measurements, PathStates, UnplannedDisk
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_S
from suites.selftest.unit.judged import busy_host, found, good
from suites.selftest.unit.synthetic_failover import HEALED, INJECTED, START
from suites.selftest.unit.test_lab_disks import disk


def undisturbed() -> Measurements:
    """Without the fault, and without anything that it did."""
    measured = good()
    states = (replace(seen, states={"a": "active", "b": "active"}) for seen in measured.path_states)
    return replace(
        measured,
        faults=(),
        timeline=Timeline.of(event for event in measured.timeline if not event.path),
        path_states=tuple(states),
    )


def using(measured: Measurements, reserve: Callable[[float], str | None]) -> Measurements:
    """With that path in reserve by the seconds since the beginning; None if no group is in use."""

    def changed(at_ns: int) -> frozenset[str] | None:
        path = reserve((at_ns - START) / NS_PER_S)
        return None if path is None else frozenset({path})

    states = (replace(seen, reserve=changed(seen.at_ns)) for seen in measured.path_states)
    return replace(measured, path_states=tuple(states))


def judged(measured: Measurements) -> Finding:
    return found(no_trouble_without_a_fault(), measured)


def test_groups_that_are_swapped_all_the_time_fail() -> None:
    """Every ten seconds. I/O goes on, and no path is lost."""
    swapped = using(undisturbed(), lambda at_s: "ab"[int(at_s // 10) % 2])
    finding = judged(swapped)
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "path a came into use at 10.00 s (2023-11-14T23:36:51.000Z); "
        "path b went into reserve at 10.00 s (2023-11-14T23:36:51.000Z); "
        "path a went into reserve at 20.00 s (2023-11-14T23:37:01.000Z); "
        "path b came into use at 20.00 s (2023-11-14T23:37:01.000Z)"
    )
    often = judged(using(undisturbed(), lambda at_s: "ab"[int(at_s // 2) % 2]))
    assert often.message.endswith("; and 23 more")
    gap = (KernelLog("initiator", (), lost=3), *swapped.kernel_logs[1:])
    assert judged(replace(swapped, kernel_logs=gap)).verdict is Verdict.UNKNOWN
    other = UnplannedDisk("8:48", "sdd", START, INJECTED)
    assert judged(replace(swapped, unplanned_disks=(other,))).verdict is Verdict.UNKNOWN
    busy = judged(replace(swapped, processors=busy_host(0.5)))
    assert busy.verdict is Verdict.UNKNOWN
    assert busy.message.endswith("but the host held back 50% of the processor time until then")


@pytest.mark.parametrize("other", ["a", None])
def test_a_look_or_two_are_no_change(other: str | None) -> None:
    """As where a map is loaded anew, even if that is often."""
    looks = {round((seen.at_ns - START) / NS_PER_S, 2) for seen in good().path_states}
    some = sorted(looks)[100::30]
    brief = using(undisturbed(), lambda at_s: other if round(at_s, 2) in some else "b")
    assert judged(brief).verdict is Verdict.PASS


def test_a_single_change_is_open() -> None:
    """Groups may have been changed before the test, and fail back only now."""
    finding = judged(using(undisturbed(), lambda at_s: "a" if at_s < 3 else "b"))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("; but that may be a failback that was due")


@pytest.mark.parametrize("back_s", [20.5, 24.0, 28.0])
def test_a_failover_and_a_failback_are_no_trouble(back_s: float) -> None:
    """From when the path is lost until some time after it is back."""
    assert (INJECTED - START) / NS_PER_S < 9 < (HEALED - START) / NS_PER_S < back_s
    failover = using(good(), lambda at_s: "a" if 9 < at_s < back_s else "b")
    assert judged(failover).verdict is Verdict.PASS


def test_a_failover_may_come_before_its_fault_as_far_as_clocks_tell() -> None:
    """One look at it, at 5.92 s, was that early by the clock of its machine."""
    early = using(good(), lambda at_s: "a" if 5.9 < at_s < 24 else "b")
    for known_ns, verdict in ((80_000_000, Verdict.PASS), (79_999_999, Verdict.UNKNOWN)):
        clock = replace(early.clocks[0], uncertainty_ns=known_ns)
        finding = judged(replace(early, clocks=(clock,)))
        assert finding.verdict is verdict, finding.message


@pytest.mark.parametrize("paths", [(), ("a",)])
def test_what_changes_after_a_fault_is_open(paths: tuple[str, ...]) -> None:
    """An array may take its time; so it may if the fault hits another initiator."""
    swapped = using(good(), lambda at_s: "ab"[int(at_s // 2) % 2] if at_s > 25 else "b")
    (fault,) = swapped.faults
    only = fault.returning.terms[:1]
    soon = replace(fault, paths=paths, healed_ns=INJECTED + NS_PER_S, healing_confirmed_ns=INJECTED)
    soon = replace(soon, returning=replace(fault.returning, terms=only))
    kept = Timeline.of(e for e in swapped.timeline if not e.path)
    after = replace(swapped, faults=(soon,), timeline=kept)
    assert judged(after).verdict is Verdict.UNKNOWN


def test_what_changes_after_a_path_was_lost_is_open() -> None:
    """That loss is for other checks, and so is what it did."""
    swapped = using(undisturbed(), lambda at_s: "ab"[int(at_s // 2) % 2] if at_s > 5 else "b")
    lost = Event(START + 4 * NS_PER_S, Happened.PATH_FAILED, "kernel", "a", path="a")
    seen = replace(swapped, timeline=Timeline.of([*swapped.timeline, lost]))
    assert judged(swapped).verdict is Verdict.FAIL
    assert judged(seen).verdict is Verdict.UNKNOWN


def test_a_path_in_reserve_that_leaves_the_map_does_not_come_into_use() -> None:
    """Nor does it go into reserve when it is back. That it was gone is for other checks."""

    def without_b(seen: PathStates) -> PathStates:
        gone = 5 < (seen.at_ns - START) / NS_PER_S < 10
        states = {"a": "active", "b": "missing" if gone else "active"}
        return replace(seen, states=states, reserve=frozenset(() if gone else "b"))

    measured = undisturbed()
    states = tuple(map(without_b, measured.path_states))
    assert judged(replace(measured, path_states=states)).verdict is Verdict.PASS


def test_what_nobody_saw_is_no_peace() -> None:
    """Without a sample, or with none that shows which group was in use."""
    measured = undisturbed()
    finding = judged(replace(measured, path_states=()))
    assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, MAP_UNSEEN)
    finding = judged(using(measured, lambda _: None))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "no sample shows which group of paths was in use"


def test_where_samples_are_missing_a_swap_is_open() -> None:
    """What made the groups change may have happened meanwhile."""
    swapped = using(undisturbed(), lambda at_s: "ab"[int(at_s // 10) % 2])
    first, *others = swapped.watching
    seen = first.at_ns[abs(first.at_ns - INJECTED) > NS_PER_S]
    finding = judged(replace(swapped, watching=(replace(first, at_ns=seen), *others)))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("; but no sample of the initiator for 2.1 s")


def test_a_doubtful_sign_excuses_no_swap() -> None:
    """Nobody knows whose disk it was; that groups were swapped is known all the same."""
    swapped = using(undisturbed(), lambda at_s: "ab"[int(at_s // 10) % 2])
    error = DiskError(("a", "b"), START + 15 * NS_PER_S, "I/O error, dev sda")
    doubtful = replace(swapped, disk_errors=(error,))
    assert judged(replace(doubtful, path_states=())).message.startswith("path a or b at 15.00 s (")
    finding = judged(doubtful)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith("path a came into use at 10.00 s")


def test_the_lab_that_made_a_connection_drop_excuses_no_swap_before() -> None:
    """Its disk stood still later."""
    swapped = using(undisturbed(), lambda at_s: "ab"[int(at_s // 10) % 2])
    error = DiskError(("b",), START + 25 * NS_PER_S, "I/O error, dev sdb")
    still = disk(2, start_ns=START + 23 * NS_PER_S)
    at_fault = replace(undisturbed(), disk_errors=(error,), lab_disks=(still,))
    assert judged(at_fault).verdict is Verdict.UNKNOWN
    both = replace(swapped, disk_errors=(error,), lab_disks=(still,))
    assert judged(both).verdict is Verdict.FAIL
