"""Phases of I/O, and read-backs of several ledgers as one."""

from __future__ import annotations

from harness.config import Config
from harness.faults import Injection, SilentDrop, Together
from harness.measurements import MAP, BlockFinding, Damage, ReadBack
from harness.testbed.phases import Phases
from harness.testbed.read_back import together
from harness.timeline import Phase
from harness.topology import Role, plan


def injection(fault: SilentDrop | Together, injected_ns: int) -> Injection:
    return Injection(fault, plan(Config()), injected_ns=injected_ns)


def test_phases_end_where_faults_begin_and_end() -> None:
    """And begin anew where the block says so; time in between is a phase that is not settled."""
    phases = Phases()
    phases.start(10)
    for name, at_ns in (("a", 20), ("b", 60)):
        fault = injection(SilentDrop(name), at_ns)
        phases.note(fault)
        fault.healed_ns = at_ns + 10
        phases.note(fault)
        phases.start(at_ns + 20)
    phases.end(100)
    assert phases.over(Role.INITIATOR) == (
        Phase("before", 10, 20, True),
        Phase("during SilentDrop(a)", 20, 30, True),
        Phase("paths return", 30, 40, False, False),
        Phase("between", 40, 60, True),
        Phase("during SilentDrop(b)", 60, 70, True),
        Phase("paths return", 70, 80, False, False),
        Phase("after", 80, 100, True),
    )


def test_no_io_is_expected_while_every_path_is_dead() -> None:
    phases = Phases()
    phases.start(10)
    fault = injection(Together((SilentDrop("a"), SilentDrop("b"))), 20)
    phases.note(fault)
    fault.healed_ns = 30
    phases.note(fault)
    assert [phase.io_expected for phase in phases.over(Role.INITIATOR)] == [True, False]


def test_io_without_a_fault_is_one_phase_and_none_if_it_never_ran() -> None:
    phases = Phases()
    phases.end(5)
    assert phases.over(Role.INITIATOR) == ()
    phases = Phases()
    phases.start(10)
    phases.end(20)
    assert phases.over(Role.INITIATOR) == (Phase("whole", 10, 20, True),)


def test_a_phase_that_begins_anew_leaves_nothing_out() -> None:
    """What came before it is a phase, too, and nothing is compared with it."""
    phases = Phases()
    for at_ns in (10, 20, 25):
        phases.start(at_ns)
    phases.end(40)
    assert phases.over(Role.INITIATOR) == (
        Phase("start", 10, 20, False, False),
        Phase("start", 20, 25, False, False),
        Phase("whole", 25, 40, True),
    )


def test_read_backs_of_several_jobs_are_one() -> None:
    bad = BlockFinding(4096, "a", Damage.TORN)
    one = ReadBack(3, 2, {MAP: 3, "a": 3}, (bad,))
    other = ReadBack(4, 1, {MAP: 4}, away={"b": "blocked"})
    assert together([one, other]) == ReadBack(7, 3, {MAP: 7, "a": 3}, (bad,), {"b": "blocked"})
    assert together([one]) == one
