"""Whether redundancy was back in time: until then one more loss would have stopped all I/O."""

from __future__ import annotations

from math import isfinite

from harness.analysis.path_absences import PROVEN_BY
from harness.analysis.redundancy import Return, returns_of
from harness.analysis.sampling import missing_ns
from harness.checks.definition import check
from harness.checks.excuses import unless_the_lab_did_it
from harness.checks.kernel import unread_kernel_logs
from harness.checks.outcome import Outcome, failed, first_bad_or_all, passed, unknown
from harness.checks.waits import waited
from harness.measurements import FaultRecord, Measurements
from harness.units import NS_PER_S, format_seconds


@check("redundancy back in time", through_the_lab=True)
def redundancy_back_in_time(measurements: Measurements) -> Outcome:
    """After healing each path was usable again within twice the time that the settings allow.

    The budget of the way back is the login, the next look at the path and the slack, each as it is
    in force. A path that was never given up does not have to come back.
    """
    if not measurements.faults:
        return unknown("no fault was injected")
    outcomes = [_back(measurements, fault) for fault in measurements.faults]
    return first_bad_or_all([unless_the_lab_did_it(one, measurements) for one in outcomes])


def _back(measurements: Measurements, fault: FaultRecord) -> Outcome:
    returns = returns_of(measurements, fault)
    if not returns:
        return _none_given_up(measurements, fault)
    budget = fault.returning
    figures = {f"path {one.path} after {fault.name}": _told(one) for one in returns}
    figures["allowed to come back"] = str(budget)
    numbers = {f"back_after_{one.path}_s": one.seconds for one in returns if one.back}
    if isfinite(budget.seconds):
        numbers["returning_s"] = budget.seconds
    last = max(returns, key=lambda one: one.seconds)
    most_s = PROVEN_BY * budget.seconds
    if (excess_s := last.seconds - most_s) > 0:
        text = (
            f"path {last.path} was {_told(last)} after {fault.name} was healed, "
            f"{format_seconds(excess_s)} beyond twice the budget of {budget}"
        )
        if doubt := _why_unsure(measurements, last, excess_s):
            return unknown(f"{text}; but {doubt}", figures, numbers)
        return failed(text, figures, numbers, (last.start_ns, last.end_ns))
    if missing := [one for one in returns if not one.back]:
        names = ", ".join(one.path for one in missing)
        text = f"path {names} was {_told(missing[0])} after {fault.name}, "
        text += "when I/O ended or the next fault began"
        return unknown(text, figures, numbers)
    if not isfinite(budget.seconds):
        return unknown(f"nothing limits how long paths of {fault.name} may take", figures, numbers)
    text = f"{fault.name}: every path was back after {last.seconds:.2f} s, budget {budget}"
    return passed(text, figures, numbers)


def _none_given_up(measurements: Measurements, fault: FaultRecord) -> Outcome:
    """No path has to come back, if the kernel's log and the samples both show that."""
    if unseen := set(fault.paths) - {counters.path for counters in measurements.counters}:
        where = ", ".join(sorted(unseen))
        return unknown(f"{fault.name}: nothing was measured of path {where}")
    gaps = unread_kernel_logs(measurements)
    if not any(
        fault.injected_ns <= look.at_ns <= fault.healed_ns for look in measurements.path_states
    ):
        gaps.append("the states of the paths were not sampled")
    text = f"{fault.name}: no path failed"
    if fault.paths and gaps:
        return unknown(f"{text} as far as was seen; but {'; '.join(gaps)}")
    return passed(text)


def _why_unsure(measurements: Measurements, absence: Return, excess_s: float) -> str:
    """What may have kept the path away, or hidden that it was back, for the excess; or nothing."""
    span_ns = absence.start_ns, absence.end_ns
    waited_s = waited(measurements, *span_ns)
    if excess_s <= waited_s:
        return f"the host gave the machines no processor for {waited_s:.3f} s of it"
    host = measurements.processors
    unseen_ns = (missing_ns(watching, host, *span_ns) for watching in measurements.watching)
    unseen_s = max(unseen_ns, default=0) / NS_PER_S
    return f"no sample was taken for {unseen_s:.1f} s of it" if excess_s <= unseen_s else ""


def _told(one: Return) -> str:
    return f"{'back' if one.back else 'not back'} {one.seconds:.2f} s"
