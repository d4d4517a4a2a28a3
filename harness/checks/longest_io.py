"""How long a single I/O took, against what the settings in force allow.

A stream may go on while one of its I/Os hangs: then it does not stall.
"""

from __future__ import annotations

from functools import partial

from harness.analysis.stall import LongIo, waits_of, worst_of
from harness.checks.definition import check
from harness.checks.outcome import Outcome
from harness.checks.waits import (
    Judge,
    Limit,
    budget_of,
    judge_by_losses,
    judge_wait,
    never_went_on,
    within_budget,
)
from harness.measurements import FaultRecord, Measurements
from harness.units import NS_PER_S


@check("longest I/O within budget", through_the_lab=True, by_completions=True)
def longest_io_within_budget(measurements: Measurements) -> Outcome:
    """No single I/O of any stream took longer than the effective settings allow.

    From its submission to its completion, whatever the others did meanwhile. One that waited until
    a path of a fault failed is held to that fault's budget, and to a budget more for each
    path that was lost after that while it still waited; every other has the slack.
    """
    resolution_ns = _grain_ns(measurements)

    def judged(fault: FaultRecord, longest: LongIo | None, losses: int) -> Outcome:
        spared_ns = 0
        if fault.io_stops and longest:
            spared_ns = max(0, fault.healing_confirmed_ns - longest.start_ns)
        return judge_wait(
            measurements,
            longest,
            budget_of(fault, losses),
            resolution_ns,
            when=f" in {fault.name}",
            spared_s=spared_ns / NS_PER_S,
        )

    def during(fault: FaultRecord) -> Outcome:
        return judge_by_losses(measurements, fault, LongIo, partial(judged, fault))

    return within_budget(measurements, Judge(LongIo, resolution_ns, during))


@check("no long I/O", through_the_lab=True, by_completions=True)
def no_io_beyond(measurements: Measurements, seconds: float) -> Outcome:
    """No single I/O took longer than that; for runs without a fault."""
    if measurements.errors_forced:
        return never_went_on(measurements)
    limit = Limit("limit", seconds, f"limit {seconds:g} s")
    longest = worst_of(waits_of(measurements, LongIo))
    return judge_wait(measurements, longest, limit, _grain_ns(measurements))


def _grain_ns(measurements: Measurements) -> int | None:
    """How finely an I/O is timed: fio logs each with the grain of its log."""
    return max((s.completions.resolution_ns for s in measurements.streams), default=None)
