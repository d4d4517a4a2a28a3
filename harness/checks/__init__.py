"""Pure functions from measurements to a verdict. Imports the data layers only.

A test calls a check with its demands, such as `throughput_recovered(at_least=0.9)`, and `judge`
runs it over the measurements of one LUN, `judge_each` over those of several. `check` makes a check
of a function that takes both and returns `passed`, `failed` or `unknown`.
"""

from harness.checks.accounting import accounting_agrees
from harness.checks.definition import Check, Finding, check
from harness.checks.effect import fault_took_effect
from harness.checks.integrity import data_intact, no_io_errors
from harness.checks.judgement import Judgement, judge, judge_each, together
from harness.checks.kernel import kernel_sound
from harness.checks.lab_cables import cables_sound
from harness.checks.lab_disks import lab_disks_sound
from harness.checks.longest_io import longest_io_within_budget, no_io_beyond
from harness.checks.outage import latency_held, throughput_held
from harness.checks.outcome import Outcome, Verdict, failed, passed, unknown
from harness.checks.path_latency import each_path_as_good_as_before
from harness.checks.path_loss import no_unexpected_path_loss
from harness.checks.promise import lab_sound, promise_kept, undisturbed
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

__all__ = [
    "Check",
    "Finding",
    "Judgement",
    "Outcome",
    "Verdict",
    "accounting_agrees",
    "cables_sound",
    "check",
    "data_intact",
    "each_path_as_good_as_before",
    "evidence_sound",
    "failed",
    "fault_took_effect",
    "judge",
    "judge_each",
    "kernel_sound",
    "lab_disks_sound",
    "lab_sound",
    "latency_held",
    "latency_recovered",
    "load_shared_again",
    "longest_io_within_budget",
    "no_io_beyond",
    "no_io_errors",
    "no_stall_beyond",
    "no_trouble_without_a_fault",
    "no_unexpected_path_loss",
    "passed",
    "paths_restored",
    "promise_kept",
    "redundancy_back_in_time",
    "sessions_as_planned",
    "stall_within_budget",
    "stalls_together_within_budget",
    "throughput_held",
    "throughput_recovered",
    "together",
    "undisturbed",
    "unknown",
]
