"""Each kind of fault on machines: it does what it says, and nothing of it is left.

A kind that is added to the catalogue has its tests without being named here. Those that take more
than two paths: `--topology two-controllers` has ControllerLost, OneByOne and all that one
controller can have, `two-initiators` NetworkLost.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import pytest

from harness.checks import (
    Check,
    Verdict,
    data_intact,
    fault_took_effect,
    judge,
    kernel_sound,
    longest_io_within_budget,
    no_io_errors,
    no_unexpected_path_loss,
    paths_restored,
    redundancy_back_in_time,
    stall_within_budget,
    stalls_together_within_budget,
)
from harness.deadline import Deadline, poll
from harness.faults import Family, Fault, Kind, Means, PlannedFault, planned
from harness.machine import Machine
from harness.measurements import Measurements
from harness.plugin.run import KEY
from harness.testbed import Testbed
from harness.testbed.means import possible
from harness.timeline import Happened
from harness.topology import plan
from suites.selftest.network_state import network_state, require_state

BEFORE_S = 3
DURING_S = 4
AFTER_S = 5
# What is broken shows in the state of NICs, disks and daemons.
SHOWN = {Family.LINK, Family.PACKET, Family.INITIATOR, Family.SEVERAL}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The first fault of each kind that the run's topology can have, at each end that acts."""
    config = metafunc.config.stash[KEY].config
    firsts: dict[tuple[str, frozenset[Means]], PlannedFault] = {}
    for one in planned(plan(config), possible(config)):
        firsts.setdefault((one.kind.name, one.fault.needs), one)
    metafunc.parametrize(
        ("kind", "fault"),
        [(one.kind, one.fault) for one in firsts.values()],
        ids=[one.label for one in firsts.values()],
    )


def machines_of(testbed: Testbed) -> list[Machine]:
    return [testbed.machine(name) for name in testbed.machines]


def promises_under(kind: Kind) -> Sequence[Check]:
    """What sound storage keeps: under a fault that is damaging not that of its data."""
    of_data = () if kind.damaging else (data_intact(), no_io_errors())
    return (
        fault_took_effect(),
        *of_data,
        stall_within_budget(),
        longest_io_within_budget(),
        stalls_together_within_budget(),
        paths_restored(),
        redundancy_back_in_time(),
        no_unexpected_path_loss(),
        kernel_sound(),
    )


def test_a_fault_does_what_it_says(testbed: Testbed, seed: int, kind: Kind, fault: Fault) -> None:
    """I/O goes on, and within the fault's budget; once it is healed all is as it was before."""
    before = network_state(machines_of(testbed))
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        testbed.fail_over(fault, during_s=DURING_S, after_s=AFTER_S)
    require_state(machines_of(testbed), before, fault.name)
    for name, measured in io.measurements_by_lun.items():
        require_effect(name, measured, fault.loses(testbed.topology))
        require_kept(measured, promises_under(kind))


def require_effect(name: str, measured: Measurements, loses: Collection[str]) -> None:
    """The kernel gave up the paths that the fault loses, while it lasted; and none that it spares.

    Or they left the map. *Fault took effect* is what tells of paths that go on: by what is counted
    here.
    """
    (record,) = measured.faults
    given_up = [event for event in measured.timeline if event.what is Happened.PATH_FAILED]
    during = {
        event.path for event in given_up if record.injected_ns <= event.at_ns <= record.ordered_ns
    }
    sys.stdout.write(f"\n{name}: {record.description}\n")
    sys.stdout.write(f"paths given up: {', '.join(f'{event.path}' for event in given_up)}\n")
    for part in dict.fromkeys(sample.part for sample in record.means_samples):
        samples = [sample for sample in record.means_samples if sample.part == part]
        counts = [(one.count, one.out_of) if one.out_of else one.count for one in samples]
        sys.stdout.write(f"{part} counted {counts}\n")
    during |= {
        path
        for look in measured.path_states
        if record.injected_ns <= look.at_ns <= record.ordered_ns
        for path, state in look.states.items()
        if state == "missing"
    }
    assert set(record.paths) & set(loses) <= during
    assert {event.path for event in given_up} <= set(record.paths)


def require_kept(measured: Measurements, promises: Sequence[Check]) -> None:
    """Each promise is kept; all are told."""
    judgement = judge(measured, *promises)
    for finding in judgement.findings:
        sys.stdout.write(f"\n{finding.check}: {finding.verdict}: {finding.message}\n")
    broken = [one.check for one in judgement.findings if one.verdict is not Verdict.PASS]
    assert not broken


def test_a_fault_that_was_left_behind_is_healed(testbed: Testbed, kind: Kind, fault: Fault) -> None:
    """As when a run was killed while it lasted: the next test finds all as it was."""
    if kind.family is Family.CALLOUT:
        pytest.skip("what a callout breaks does not show on the machines")
    before = network_state(machines_of(testbed))
    fault.inject(testbed)
    if lost := fault.loses(testbed.topology):
        testbed.wait_until_lost(lost)
    if kind.family in SHOWN:
        poll(
            lambda: network_state(machines_of(testbed)) != before,
            what=kind.breaks,
            deadline=Deadline.after(10),
        )
    else:
        fault.confirm(testbed)
    testbed.make_ready()
    require_state(machines_of(testbed), before, fault.name)
    fault.confirm_healed(testbed)
