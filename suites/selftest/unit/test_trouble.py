"""What happens to a path while no fault hits it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.wall_clock import wall_clock
from harness.budget import Budget, BudgetTerm
from harness.checks import Verdict, no_trouble_without_a_fault
from harness.measurements import KernelLog, KernelMessage, Measurements, PathCounters
from harness.timeline import Event, Happened, Timeline
from harness.transport.disk_errors import disk_errors
from harness.transport.iscsi.settings import session_settings
from harness.units import NS_PER_S
from suites.selftest.unit.judged import busy_host, carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START
from suites.selftest.unit.test_kernel_events import recorded

CHECK = no_trouble_without_a_fault()
LINE = "connection2:0: detected conn error (1022)"
ERROR = "I/O error, dev sdb, sector 33440 op 0x1:(WRITE) flags 0xca00 phys_seg 4 prio class 2"
RESET = "sd 1:0:0:0: Power-on or device reset occurred"
NAMED = "sd 1:0:0:0: [sdb] tag#86 FAILED Result: hostbyte=DID_TRANSPORT_DISRUPTED cmd_age=1s"


def with_event(at_ns: int, path: str, what: Happened = Happened.CONNECTION_ERROR) -> Measurements:
    event = Event(at_ns, what, "initiator kernel", LINE, path=path)
    return replace(good(), timeline=Timeline.of([*good().timeline, event]))


def with_line(at_ns: int, *lines: str, measured: Measurements | None = None) -> Measurements:
    measured = measured or good()
    log, *others = measured.kernel_logs
    said = tuple(KernelMessage(at_ns, 3, text) for text in lines)
    log = replace(log, messages=(*log.messages, *said))
    errors = tuple(disk_errors(log, measured.counters))
    return replace(measured, kernel_logs=(log, *others), disk_errors=errors)


@pytest.mark.parametrize(
    "what",
    [Happened.CONNECTION_ERROR, Happened.RECOVERY_TIMED_OUT, Happened.SESSION_RECOVERED],
)
@pytest.mark.parametrize(
    ("at_ns", "path"),
    [(INJECTED - NS_PER_S, "a"), (INJECTED + NS_PER_S, "b"), (END - NS_PER_S, "a")],
)
def test_a_connection_that_drops_without_a_fault_fails(
    at_ns: int, path: str, what: Happened
) -> None:
    """Before the fault, on a path that it did not hit, or once all was back."""
    assert found(CHECK, good()).verdict is Verdict.PASS
    finding = found(CHECK, with_event(at_ns, path, what))
    assert finding.verdict is Verdict.FAIL
    seconds = (at_ns - START) / NS_PER_S
    clock = wall_clock(with_event(at_ns, path, what), at_ns)
    assert clock.startswith("2023-11-14T23:3")
    assert finding.message == f"path {path} at {seconds:.2f} s ({clock}): {what}: {LINE}"


@pytest.mark.parametrize(
    "at_ns", [INJECTED + NS_PER_S, HEALED + 2 * NS_PER_S, HEALED + 4 * NS_PER_S]
)
def test_what_a_fault_explains_is_no_trouble(at_ns: int) -> None:
    """Until its path is back, and a second more."""
    assert found(CHECK, with_event(at_ns, "a")).verdict is Verdict.PASS


def test_a_path_that_was_not_given_up_may_recover_for_as_long_as_that_is_allowed() -> None:
    """It was healed before: its session logs in again later, and no line says when it is back."""
    measured = with_event(HEALED + 7 * NS_PER_S, "a", Happened.SESSION_RECOVERED)
    kept = [e for e in measured.timeline if e.what is not Happened.PATH_FAILED]
    kept = [e for e in kept if e.what is not Happened.PATH_REINSTATED]
    finding = found(CHECK, replace(measured, timeline=Timeline.of(kept)))
    assert finding.verdict is Verdict.PASS, finding.message
    (fault,) = measured.faults
    soon = replace(fault, returning=Budget((BudgetTerm("login_timeout", 2, "record"),)))
    strict = replace(measured, timeline=Timeline.of(kept), faults=(soon,))
    assert found(CHECK, strict).verdict is Verdict.FAIL
    allowed = replace(fault, returning=Budget((BudgetTerm("login_timeout", 3, "record"),)))
    assert found(CHECK, replace(strict, faults=(allowed,))).verdict is Verdict.PASS  # twice that


def test_what_happens_before_and_after_the_io_is_not_judged() -> None:
    """A login before the first I/O, and what is done before the read-back."""
    for at_ns in (START - NS_PER_S, END + NS_PER_S):
        assert found(CHECK, with_event(at_ns, "b")).verdict is Verdict.PASS


@pytest.mark.parametrize("lines", [(ERROR,), (NAMED,), (NAMED, RESET)])
def test_an_error_that_was_retried_on_a_healthy_path_fails(lines: tuple[str, ...]) -> None:
    """No I/O failed, since multipath sent it again over the other path."""
    finding = found(CHECK, with_line(INJECTED + NS_PER_S, *lines))
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith(f"path b at 7.00 s (2023-11-14T23:36:48.000Z): {lines[0]}")
    assert finding.numbers["signs_of_trouble"] == len(lines)


def test_lines_of_other_disks_are_passed_over() -> None:
    """Also one with the address of a disk alone, whose name no line tells."""
    others = (ERROR.replace("sdb", "sdz"), RESET, ERROR.replace("sdb", "dm-0"))
    assert found(CHECK, with_line(INJECTED + NS_PER_S, *others)).verdict is Verdict.PASS


def test_a_loss_of_path_a_is_full_of_such_lines() -> None:
    """As Linux 6.1 logged it: every line is about the path that was lost."""
    log = recorded("linux-6.1-link-down.txt")
    errors = list(disk_errors(log, good().counters))
    assert {error.paths for error in errors} == {("a",)}
    assert len(errors) == 4
    assert "rejecting I/O to offline device" in {e.text.partition(": ")[2] for e in errors}


def test_a_fault_that_missed_its_path_may_have_hit_this_one() -> None:
    """Then the storage is not to blame."""
    missed = with_counters(
        with_event(INJECTED + NS_PER_S, "b"),
        "a",
        lambda c: carrying(c, INJECTED + NS_PER_S, HEALED, 1_000_000),
    )
    finding = found(CHECK, missed)
    assert finding.verdict is Verdict.UNKNOWN
    assert "still carried" in finding.message


def test_a_log_with_gaps_proves_no_peace() -> None:
    """But trouble that was seen is trouble."""
    log = KernelLog("initiator", (), lost=3)
    gap = replace(good(), kernel_logs=(log, good().kernel_logs[1]))
    assert found(CHECK, gap).verdict is Verdict.UNKNOWN
    seen = with_event(INJECTED - NS_PER_S, "a")
    assert found(CHECK, replace(seen, kernel_logs=gap.kernel_logs)).verdict is Verdict.FAIL
    assert found(CHECK, replace(good(), kernel_logs=())).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("steal", "busy_s", "doubt"),
    [
        (1.0, 1.2, "no processor for 1.200 s of the 3 s before it, and a timeout is 1 s"),
        (0.3, 3.0, ""),
        (1.0, 0.5, ""),
    ],
)
def test_a_connection_that_drops_for_want_of_a_processor_is_open(
    steal: float, busy_s: float, doubt: str
) -> None:
    """The answer to a ping may have come in time, and not been seen: a timeout is 1 s."""
    at_ns = INJECTED - NS_PER_S
    busy = busy_host(steal, start_ns=at_ns - int(busy_s * NS_PER_S), end_ns=at_ns)
    finding = found(CHECK, replace(with_event(at_ns, "b"), processors=busy))
    assert finding.verdict is (Verdict.UNKNOWN if doubt else Verdict.FAIL)
    assert finding.message.endswith(doubt)


def test_a_host_too_busy_for_a_failure_leaves_it_open() -> None:
    """Half of the time of each processor, though no timeout was reached in all."""
    at_ns = INJECTED - NS_PER_S
    longer = tuple(session_settings(path, 5, 5, 5, path) for path in ("a", "b"))
    busy = busy_host(0.5, start_ns=at_ns - 10 * NS_PER_S // 2, end_ns=at_ns)
    measured = replace(with_event(at_ns, "b"), processors=busy, settings=longer)
    quiet = replace(measured, processors=busy_host(0.2, start_ns=START, end_ns=at_ns))
    assert found(CHECK, quiet).verdict is Verdict.FAIL
    finding = found(CHECK, measured)
    assert finding.verdict is Verdict.UNKNOWN, finding.message
    assert "the host held back 50% of the processor time" in finding.message


def test_what_follows_from_such_a_drop_is_open_and_nothing_else() -> None:
    """Errors of its disk until its session is back. Those of another path have no such cause."""
    at_ns = INJECTED + 5 * NS_PER_S
    busy = busy_host(1.0, start_ns=at_ns - 2 * NS_PER_S, end_ns=at_ns)

    def after(seconds: float, disk: str) -> Measurements:
        lined = with_line(at_ns + int(seconds * NS_PER_S), ERROR.replace("sdb", disk))
        dropped = [
            Event(at_ns, Happened.CONNECTION_ERROR, "initiator kernel", LINE, path="b"),
            Event(at_ns + NS_PER_S, Happened.SESSION_RECOVERED, "initiator kernel", path="b"),
        ]
        told = Timeline.of([*good().timeline, *dropped])
        return replace(lined, timeline=told, processors=busy)

    assert found(CHECK, after(0.5, "sdb")).verdict is Verdict.UNKNOWN
    finding = found(CHECK, after(2.5, "sdb"))
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith("path b at 13.50 s (2023-11-14T23:36:54.500Z): ")
    assert finding.numbers["signs_of_trouble"] == 3
    before = replace(with_line(INJECTED - NS_PER_S, ERROR), processors=busy_host(1.0))
    assert found(CHECK, before).verdict is Verdict.FAIL


def test_a_path_that_was_back_before_healing_was_confirmed_has_no_more_time() -> None:
    """It was given up and is reinstated at 3.1 s, so it is known when it was back."""
    measured = with_event(HEALED + 5 * NS_PER_S, "a")
    (fault,) = measured.faults
    late = replace(fault, healing_confirmed_ns=HEALED + 32 * NS_PER_S // 10)
    assert found(CHECK, replace(measured, faults=(late,))).verdict is Verdict.FAIL


MOVED = {"a": ("sda", "sdc"), "b": ("sdb", "sda")}


def moved() -> tuple[PathCounters, ...]:
    """Path a was sda and came back as sdc; b came back as sda then."""
    return tuple(replace(one, disks=MOVED[one.path]) for one in good().counters)


def test_an_error_of_a_disk_name_that_several_paths_had_may_be_of_any() -> None:
    log = good().kernel_logs[0]
    lines = [ERROR.replace("sdb", disk) for disk in ("sda", "sdb", "sdc")]
    log = replace(log, messages=tuple(KernelMessage(INJECTED, 3, line) for line in lines))
    errors = [(one.paths, one.text) for one in disk_errors(log, moved())]
    assert errors == [(("a", "b"), lines[0]), (("b",), lines[1]), (("a",), lines[2])]


@pytest.mark.parametrize(
    ("at_ns", "verdict"),
    [(INJECTED - NS_PER_S, Verdict.UNKNOWN), (INJECTED + NS_PER_S, Verdict.PASS)],
)
def test_an_error_of_nobody_knows_whose_disk_is_open(at_ns: int, verdict: Verdict) -> None:
    """Unless a fault had hit one of the paths then: that is what its loss looks like."""
    measured = replace(good(), counters=moved())
    finding = found(CHECK, with_line(at_ns, ERROR.replace("sdb", "sda"), measured=measured))
    assert finding.verdict is verdict, finding.message
    if verdict is Verdict.UNKNOWN:
        assert finding.message.startswith("path a or b at 5.00 s (2023-")
        assert "Z): I/O error, dev sda, " in finding.message
        assert finding.message.endswith("; but each of them had a disk of that name")


def test_an_error_of_nobody_knows_whose_disk_excuses_no_other() -> None:
    measured = replace(good(), counters=moved())
    lines = (ERROR.replace("sdb", "sda"), ERROR)
    finding = found(CHECK, with_line(INJECTED - NS_PER_S, *lines, measured=measured))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == f"path b at 5.00 s (2023-11-14T23:36:46.000Z): {ERROR}"
