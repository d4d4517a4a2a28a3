"""Whether a fault really took effect: without that nothing was tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.fault_effect import (
    carried_during,
    in_reserve,
    not_in_force,
    without_effect,
)
from harness.budget import Effect
from harness.checks.definition import check
from harness.checks.outcome import Outcome, failed, first_bad_or_all, passed, unknown
from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.units import NS_PER_S, format_size


@check("fault took effect", through_the_lab=True, by_samples=True)
def fault_took_effect(measurements: Measurements, fault: str | None = None) -> Outcome:
    """Byte counters prove it: the dead paths carried nothing, the others took the load.

    And whenever its means were sampled while it lasted, they were in place; of paths that may go
    on, and of what hits none, they prove it alone, by what they count. Without effect nothing was
    tested: unknown. `fault` names one record; None judges all.
    """
    records = [f for f in measurements.faults if fault is None or f.name == fault]
    if not records:
        return unknown(f"no fault {fault or ''} was injected")
    return first_bad_or_all([_effect(measurements, record) for record in records])


def _effect(measurements: Measurements, fault: FaultRecord) -> Outcome:
    before = measurements.before
    if before is None:
        return unknown(f"no phase before {fault.name}")
    figures: dict[str, str] = {}
    numbers: dict[str, float] = {}
    unseen = set(fault.paths) - {counters.path for counters in measurements.counters}
    if unseen:
        where = ", ".join(sorted(unseen))
        return unknown(f"{fault.name}: no byte counters of path {where}")
    idle: list[PathCounters] = []
    reserve = in_reserve(measurements, before.start_ns, before.end_ns)
    for counters in measurements.counters:
        was = counters.between(before.start_ns, before.end_ns)
        carried = carried_during(measurements, fault, counters)
        if was is None or carried is None:
            return unknown(f"{fault.name}: no byte counters of path {counters.path}")
        shown = f"{format_size(was)} / {format_size(carried)}"
        figures[f"{counters}, phase {before.name!r} / while {fault.name} was in force"] = shown
        numbers[f"before_{counters.path}_bytes"] = was
        numbers[f"during_{fault.name}_{counters.path}_bytes"] = carried
        if was == 0 and counters.path not in reserve:
            return unknown(f"{counters} carried nothing even before {fault.name}", figures)
        if carried == 0:
            idle.append(counters)
    if every := fault.means_samples:
        seen = [sample for sample in every if not sample.unseen]
        figures[f"samples of the means of {fault.name}"] = f"{len(seen)} of {len(every)}"
        numbers[f"means_samples_{fault.name}"] = len(seen)
    return replace(_took_effect(measurements, fault, idle), figures=figures, numbers=numbers)


def _took_effect(
    measurements: Measurements, fault: FaultRecord, idle: Sequence[PathCounters]
) -> Outcome:
    """The outcome, where the paths `idle` carried nothing while the fault lasted.

    Those in reserve need not, as long as others do; nor need any while I/O is held.
    """
    if text := without_effect(measurements, fault) or not_in_force(fault):
        return unknown(text)
    lasted_s = (fault.healed_ns - fault.injected_ns) / NS_PER_S
    spared: frozenset[str] = frozenset()
    if len(idle) < len(measurements.counters):
        spared = in_reserve(measurements, fault.confirmed_ns, fault.healed_ns)
    for counters in idle if Effect.HELD not in fault.effects else ():
        if counters.path not in fault.paths and counters.path not in spared:
            text = f"{counters} did not take over during {fault.name}"
            if lasted_s >= fault.budget.seconds:
                return failed(text)
            return unknown(f"{text}, which was healed within its budget of {fault.budget}")
    return passed(f"{fault.name}: {_proof(fault)}")


def _proof(fault: FaultRecord) -> str:
    """What showed that it took effect."""
    if not fault.paths:
        return "it hits no path of this initiator, and each carried I/O"
    if fault.limping:
        times = len({sample.at_ns for sample in fault.means_samples if not sample.unseen})
        return f"its means were in place and acted, by {times} samples"
    paths = "its paths" if Effect.HELD in fault.effects else "dead paths"
    return f"{paths} carried nothing"
