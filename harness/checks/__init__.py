"""Pure functions from measurements to a verdict. Imports the data layers only.

A check is made by calling its name with its demands: `stall_within_budget(fault)`; `judge`
runs checks over the measurements of one test.
"""

from harness.checks.cables import cables_sound
from harness.checks.integrity import data_intact, no_io_errors
from harness.checks.judgement import Check, Finding, Judgement, Verdict, judge
from harness.checks.kernel import kernel_sound
from harness.checks.lab_disks import lab_disks_sound
from harness.checks.paths import (
    accounting_agrees,
    fault_took_effect,
    load_shared_again,
    no_unexpected_path_loss,
    paths_restored,
)
from harness.checks.promise import lab_sound, promise_kept, undisturbed
from harness.checks.sessions import sessions_as_planned
from harness.checks.soundness import evidence_sound
from harness.checks.timing import (
    latency_recovered,
    no_stall_beyond,
    stall_within_budget,
    throughput_recovered,
)

__all__ = [
    "Check",
    "Finding",
    "Judgement",
    "Verdict",
    "accounting_agrees",
    "cables_sound",
    "data_intact",
    "evidence_sound",
    "fault_took_effect",
    "judge",
    "kernel_sound",
    "lab_disks_sound",
    "lab_sound",
    "latency_recovered",
    "load_shared_again",
    "no_io_errors",
    "no_stall_beyond",
    "no_unexpected_path_loss",
    "paths_restored",
    "promise_kept",
    "sessions_as_planned",
    "stall_within_budget",
    "throughput_recovered",
    "undisturbed",
]
