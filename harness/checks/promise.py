"""The checks of each promise, for suites and for the planted defects that they must find."""

from __future__ import annotations

from harness.checks.definition import Check
from harness.checks.effect import fault_took_effect
from harness.checks.integrity import data_intact, no_io_errors
from harness.checks.kernel import kernel_sound
from harness.checks.lab_cables import cables_sound
from harness.checks.lab_disks import lab_disks_sound
from harness.checks.longest_io import longest_io_within_budget, no_io_beyond
from harness.checks.outage import latency_held, throughput_held
from harness.checks.path_latency import each_path_as_good_as_before
from harness.checks.path_loss import no_unexpected_path_loss
from harness.checks.redundancy import redundancy_back_in_time
from harness.checks.restored import load_shared_again, paths_restored
from harness.checks.sessions import sessions_as_planned
from harness.checks.soundness import evidence_sound
from harness.checks.speed import latency_recovered, throughput_recovered
from harness.checks.stall import (
    no_stall_beyond,
    stall_within_budget,
    stalls_together_within_budget,
)
from harness.checks.trouble import no_trouble_without_a_fault


def lab_sound() -> tuple[Check, ...]:
    """Whether the lab did its part, so that what was measured tells of the storage."""
    return (cables_sound(), lab_disks_sound(), evidence_sound())


def promise_kept() -> tuple[Check, ...]:
    """The checks for a loss of paths: it may cost a short pause, and nothing else."""
    return (
        sessions_as_planned(),
        no_io_errors(),
        data_intact(),
        fault_took_effect(),
        stall_within_budget(),
        longest_io_within_budget(),
        stalls_together_within_budget(),
        throughput_held(at_least=0.9),
        latency_held(at_most=5),
        throughput_recovered(at_least=0.9),
        latency_recovered(at_most=3),
        paths_restored(),
        each_path_as_good_as_before(at_most=2),
        redundancy_back_in_time(),
        load_shared_again(at_least=0.5),
        no_unexpected_path_loss(),
        no_trouble_without_a_fault(),
        kernel_sound(),
        *lab_sound(),
    )


def undisturbed(slack_s: float) -> tuple[Check, ...]:
    """The checks for a run without a fault: nothing happens, and no pause exceeds `slack_s`."""
    return (
        sessions_as_planned(),
        no_io_errors(),
        data_intact(),
        no_stall_beyond(slack_s),
        no_io_beyond(slack_s),
        paths_restored(),
        no_unexpected_path_loss(),
        no_trouble_without_a_fault(),
        kernel_sound(),
        *lab_sound(),
    )
