"""The fault really took effect, and afterwards everything is as before."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from harness.analysis.path_absences import excused_until_ns, unexplained_absences
from harness.analysis.path_accounts import disagreements
from harness.analysis.recovery import paths_hit
from harness.checks.judgement import Check, Finding, Verdict
from harness.checks.kernel import MAP_UNSEEN, unread_kernel_logs
from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.timeline import Event, Happened, Phase
from harness.units import NS_PER_MS, NS_PER_S, format_size

# I/O that was already on the wire may still complete while the order to break is carried out.
_GRACE_NS = 250 * NS_PER_MS
_LAST_LOOK_NS = NS_PER_S
_RECOVERY_S = 45.0  # at least: a busy host may take longer than the settings allow


def fault_took_effect(fault: str | None = None) -> Check:
    """Byte counters prove it: the dead paths carried nothing, the others took the load.

    Without effect nothing was tested: unknown. `fault` names one record; None judges all.
    """
    name = "fault took effect"

    def run(measurements: Measurements) -> Finding:
        records = [f for f in measurements.faults if fault is None or f.name == fault]
        if not records:
            return Finding(name, Verdict.UNKNOWN, f"no fault {fault or ''} was injected")
        findings = [_effect(name, measurements, record) for record in records]
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN):
            for finding in findings:
                if finding.verdict is verdict:
                    return finding
        return Finding(
            name,
            Verdict.PASS,
            "; ".join(f.message for f in findings),
            {key: value for f in findings for key, value in f.figures.items()},
            {key: value for f in findings for key, value in f.numbers.items()},
        )

    return Check(name, run, through_the_lab=True)


def _effect(name: str, measurements: Measurements, fault: FaultRecord) -> Finding:
    before = measurements.phases[0]
    figures: dict[str, str] = {}
    numbers: dict[str, float] = {}
    unseen = set(fault.paths) - {counters.path for counters in measurements.counters}
    if unseen:
        where = ", ".join(sorted(unseen))
        return Finding(name, Verdict.UNKNOWN, f"{fault.name}: no byte counters of path {where}")
    idle: list[PathCounters] = []
    reserve = _in_reserve(measurements, before.start_ns, before.end_ns)
    for counters in measurements.counters:
        was = counters.between(before.start_ns, before.end_ns)
        carried = _carried_during(measurements, fault, counters)
        if was is None or carried is None:
            return Finding(
                name, Verdict.UNKNOWN, f"{fault.name}: no byte counters of path {counters.path}"
            )
        label = _label(counters)
        figures[f"{label} before / during {fault.name}"] = (
            f"{format_size(was)} / {format_size(carried)}"
        )
        numbers[f"before_{counters.path}_bytes"] = was
        numbers[f"during_{fault.name}_{counters.path}_bytes"] = carried
        if was == 0 and counters.path not in reserve:
            return Finding(
                name, Verdict.UNKNOWN, f"{label} carried nothing even before {fault.name}", figures
            )
        if carried == 0:
            idle.append(counters)
    verdict, text = _took_effect(measurements, fault, idle)
    return Finding(name, verdict, text, figures, numbers)


def _took_effect(
    measurements: Measurements, fault: FaultRecord, idle: Sequence[PathCounters]
) -> tuple[Verdict, str]:
    """The verdict, where the paths `idle` carried nothing while the fault lasted.

    Those in reserve need not, as long as others do.
    """
    if text := _without_effect(measurements, fault):
        return Verdict.UNKNOWN, text
    lasted_s = (fault.healed_ns - fault.injected_ns) / NS_PER_S
    spared: frozenset[str] = frozenset()
    if len(idle) < len(measurements.counters):
        spared = _in_reserve(measurements, fault.confirmed_ns, fault.healed_ns)
    for counters in idle:
        if counters.path not in fault.paths and counters.path not in spared:
            text = f"{_label(counters)} did not take over during {fault.name}"
            if lasted_s >= fault.budget.seconds:
                return Verdict.FAIL, text
            return Verdict.UNKNOWN, f"{text}, which was healed within its budget of {fault.budget}"
    return Verdict.PASS, f"{fault.name}: dead paths carried nothing"


def _without_effect(measurements: Measurements, fault: FaultRecord) -> str:
    """Which path that a fault was to hit went on carrying, as a sentence; empty if none did.

    One that was in reserve, and carried nothing anyway, must be seen to fail.
    """
    reserve = _in_reserve(measurements, fault.injected_ns, fault.confirmed_ns)
    for counters in paths_hit(measurements, fault):
        if counters.path in reserve and not _failed_during(measurements, fault, counters.path):
            return f"{_label(counters)} was in reserve, and not seen to fail during {fault.name}"
        if carried := _carried_during(measurements, fault, counters):
            return (
                f"{_label(counters)} still carried {format_size(carried)} during {fault.name}: "
                "no effect, or not for all of that time"
            )
    return ""


def _in_reserve(measurements: Measurements, start_ns: int, end_ns: int) -> frozenset[str]:
    """Paths of groups that were not in use in all of a stretch of time, by all samples of it."""
    seen = [s.reserve for s in measurements.path_states if start_ns <= s.at_ns <= end_ns]
    return frozenset.intersection(*seen) if seen else frozenset()


def _failed_during(measurements: Measurements, fault: FaultRecord, path: str) -> bool:
    return any(
        seen.states.get(path) == "failed"
        for seen in measurements.path_states
        if fault.injected_ns <= seen.at_ns <= fault.healing_confirmed_ns
    )


def _label(counters: PathCounters) -> str:
    return f"path {counters.path} ({', '.join(counters.disks) or 'no disk'})"


def _carried_during(
    measurements: Measurements, fault: FaultRecord, counters: PathCounters
) -> int | None:
    """Bytes that a path carried during a fault; None if no counters were sampled then.

    Not in the moments in which the kernel gives the path up: what was stuck on it is failed then,
    and the block layer counts that as carried (blk_account_io_completion in block/blk-mq.c).
    """
    start_ns, end_ns = fault.confirmed_ns + _GRACE_NS, fault.healed_ns
    given_up = [
        e.at_ns
        for e in measurements.timeline
        if e.what is Happened.PATH_FAILED
        and e.path == counters.path
        and start_ns - _GRACE_NS <= e.at_ns <= end_ns + _GRACE_NS
    ]
    begins = [start_ns, *(at_ns + _GRACE_NS for at_ns in given_up)]
    ends = [*(at_ns - _GRACE_NS for at_ns in given_up), end_ns]
    parts = [counters.between(*stretch) for stretch in zip(begins, ends, strict=True)]
    seen = [part for part in parts if part is not None]
    return sum(seen) if seen else None


def paths_restored() -> Check:
    """At the end every path is active again, and has carried I/O since healing if it is in use."""
    name = "paths restored"

    def run(measurements: Measurements) -> Finding:
        if text := _not_seen_to_return(measurements):
            return Finding(name, Verdict.UNKNOWN, text)
        phase = measurements.phases[-1]
        last = measurements.path_states[-1].states
        expected = {counters.path for counters in measurements.counters}
        figures = {path: last.get(path, "missing") for path in sorted(expected)}
        if down := sorted(path for path in expected if last.get(path) != "active"):
            text = f"paths not active at the end: {', '.join(down)}"
            end_ns = measurements.path_states[-1].at_ns
            differs = {d.path: d.text for d in disagreements(measurements) if d.end_ns == end_ns}
            if differs.keys() >= set(down):
                text = f"{text}; but {'; '.join(differs[path] for path in down)}"
                return Finding(name, Verdict.UNKNOWN, text, figures)
            return Finding(name, Verdict.FAIL, text, figures)
        reserve = _in_reserve(measurements, phase.start_ns, phase.end_ns)
        for counters in measurements.counters:
            carried = counters.between(phase.start_ns, phase.end_ns)
            if carried is None:
                return Finding(
                    name, Verdict.UNKNOWN, f"no byte counters of path {counters.path}", figures
                )
            figures[f"path {counters.path} in phase {phase.name!r}"] = format_size(carried)
            if carried == 0 and counters.path not in reserve:
                return Finding(
                    name,
                    Verdict.FAIL,
                    f"path {counters.path} is active but carried nothing {phase.name}",
                    figures,
                )
        text = "every path is active and carries I/O"
        if reserve:
            text = f"every path is active; {', '.join(sorted(reserve))} in reserve"
        return Finding(name, Verdict.PASS, text, figures)

    return Check(name, run, through_the_lab=True)


def _not_seen_to_return(measurements: Measurements) -> str:
    """Why nothing can be said of the paths at the end, or nothing."""
    if not measurements.path_states or not measurements.counters:
        return "no path states were sampled"
    phase = measurements.phases[-1]
    if measurements.path_states[-1].at_ns < phase.end_ns - _LAST_LOOK_NS:
        return f"no path states were sampled at the end of phase {phase.name!r}"
    return _cut_short_too_soon(measurements)


def _cut_short_too_soon(measurements: Measurements) -> str:
    """Why nothing can be said of paths coming back, if I/O ended before they had to."""
    if not (measurements.cut_short and measurements.faults):
        return ""
    last = max(measurements.faults, key=lambda fault: fault.healing_confirmed_ns)
    had_s = (measurements.phases[-1].end_ns - last.healing_confirmed_ns) / NS_PER_S
    if had_s >= max(_RECOVERY_S, last.returning.seconds):
        return ""
    return f"the I/O was cut short {max(had_s, 0):.1f} s after healing: {measurements.cut_short}"


def load_shared_again(at_least: float) -> Check:
    """Each path has that part of its share of the bytes before the fault, or more.

    A path that came back slow is given less by the device mapper (dm-ps-service-time.c in the
    kernel), so that neither throughput nor latency need suffer while it is useless.
    """
    name = "load shared again"

    def run(measurements: Measurements) -> Finding:
        before, after = measurements.phases[0], measurements.phases[-1]
        if before is after:
            return Finding(name, Verdict.UNKNOWN, "there is no phase after a fault")
        if text := _cut_short_too_soon(measurements):
            return Finding(name, Verdict.UNKNOWN, text)
        was, became = _shares(measurements, before), _shares(measurements, after)
        if not was or not became:
            return Finding(name, Verdict.UNKNOWN, "the share of some path is not known")
        figures = {
            f"path {path} {before.name} / {after.name}": f"{was[path]:.0%} / {became[path]:.0%}"
            for path in was
        }
        numbers = {f"share_before_{path}": share for path, share in was.items()}
        numbers |= {f"share_after_{path}": share for path, share in became.items()}
        poor = [
            f"path {path} carries {became[path]:.0%} of the load after the fault, "
            f"{was[path]:.0%} before"
            for path in was
            if became[path] < at_least * was[path]
        ]
        if poor:
            return Finding(name, Verdict.FAIL, "; ".join(poor), figures, numbers)
        text = "every path carries its share again"
        return Finding(name, Verdict.PASS, text, figures, numbers)

    return Check(name, run, through_the_lab=True)


def _shares(measurements: Measurements, phase: Phase) -> dict[str, float]:
    """The part of all bytes that each path carried in a phase; empty if that is not known."""
    carried = {c.path: c.between(phase.start_ns, phase.end_ns) for c in measurements.counters}
    known = {path: count for path, count in carried.items() if count is not None}
    total = sum(known.values())
    if len(known) < len(carried) or not total:
        return {}
    return {path: count / total for path, count in known.items()}


def accounting_agrees(within: float) -> Check:
    """The bytes that fio completed are those that the paths carried, within that share.

    Two independent counts of one thing: if they disagree, one of them measures wrongly and
    no figure can be trusted. For phases without a fault and without verification.
    """
    name = "accounting agrees"

    def run(measurements: Measurements) -> Finding:
        phase = measurements.phases[-1]
        carried = [c.between(phase.start_ns, phase.end_ns) for c in measurements.counters]
        seen = [c for c in carried if c is not None]
        if not seen or sum(seen) == 0:
            return Finding(name, Verdict.UNKNOWN, "no byte counters of any path")
        completed = 0
        for stream in measurements.streams:
            log = stream.completions
            inside = (log.at_ns >= phase.start_ns) & (log.at_ns <= phase.end_ns)
            completed += int(log.size[inside].sum())
        figures = {"fio": format_size(completed), "paths": format_size(sum(seen))}
        numbers = {"fio_bytes": completed, "paths_bytes": sum(seen)}
        difference = abs(completed - sum(seen)) / sum(seen)
        if difference > within:
            text = f"fio and the paths differ by {difference:.1%}"
            return Finding(name, Verdict.UNKNOWN, text, figures, numbers)
        text = f"fio and the paths agree to {difference:.1%}"
        return Finding(name, Verdict.PASS, text, figures, numbers)

    return Check(name, run)


def no_unexpected_path_loss() -> Check:
    """No path was given up, or left the map, but those that a fault had hit, while it lasted.

    By the kernel's log and by the samples: a path that only one of them shows as given up is not
    known to be. Of a path that leaves the map without being given up the samples alone tell.
    """
    name = "no unexpected path loss"

    def run(measurements: Measurements) -> Finding:
        if text := _losses_unseen(measurements):
            return Finding(name, Verdict.UNKNOWN, text)
        lost = [e for e in measurements.timeline if e.what is Happened.PATH_FAILED]
        unexpected = _given_up_unexpectedly(measurements, lost)
        absences = unexplained_absences(measurements)
        differs = disagreements(measurements)
        figures = {
            "paths given up": str(len(lost)),
            "unexpected": str(len(unexpected)),
            "out of the map unexpectedly": str(len(absences)),
        }
        numbers = {
            "paths_given_up": len(lost),
            "unexpected": len(unexpected),
            "absent_unexpectedly": len(absences),
        }
        given_up = f"paths given up without a fault there: {', '.join(e.path for e in unexpected)}"
        gone = f"not in use without a fault there: {'; '.join(each.text for each in absences)}"
        said = [*([given_up] if unexpected else []), *([gone] if absences else [])]
        doubts = [each.text for each in differs]
        in_doubt = {each.path for each in differs}
        spans = [(e.at_ns, e.at_ns) for e in unexpected if e.path not in in_doubt]
        spans += [
            (each.start_ns, each.end_ns)
            for each in absences
            if each.sure and each.path not in in_doubt
        ]
        if not spans and (said or doubts):
            return Finding(name, Verdict.UNKNOWN, "; ".join([*said, *doubts]), figures, numbers)
        if spans:
            missed = [m for f in measurements.faults if (m := _without_effect(measurements, f))]
            if missed:  # it may have hit these instead
                text = f"{'; '.join(said)}; but {'; '.join(missed)}"
                return Finding(name, Verdict.UNKNOWN, text, figures, numbers)
            first_ns, last_ns = min(start for start, _ in spans), max(end for _, end in spans)
            span_ns = _caused(measurements, first_ns, last_ns)
            return Finding(name, Verdict.FAIL, "; ".join(said), figures, numbers, span_ns)
        if unread := unread_kernel_logs(measurements):
            return Finding(name, Verdict.UNKNOWN, "; ".join(unread), figures, numbers)
        text = f"{len(lost)} given up, all by a fault" if lost else "none was given up"
        return Finding(name, Verdict.PASS, text, figures, numbers)

    return Check(name, run, through_the_lab=True)


def _given_up_unexpectedly(measurements: Measurements, lost: Sequence[Event]) -> list[Event]:
    """Those of the lost paths that no fault explains."""
    return [
        e
        for e in lost
        if not any(
            e.path in f.paths
            and f.injected_ns <= e.at_ns <= excused_until_ns(measurements, f, e.path)
            for f in measurements.faults
        )
    ]


def _losses_unseen(measurements: Measurements) -> str:
    """Why the log tells nothing of the paths, or nothing."""
    if not measurements.kernel_logs or not measurements.counters:
        return "no kernel log was followed, or no path is known"
    return "" if measurements.path_states else MAP_UNSEEN


def _caused(measurements: Measurements, first_ns: int, last_ns: int) -> tuple[int, int] | None:
    """When something can have caused that paths were given up; None if at any time.

    Until one is given up it takes what the settings of its session allow, at most; twice that.
    """
    noticed_s = max((sum(one.limits) for one in measurements.settings), default=0.0)
    if not isfinite(noticed_s):
        return None
    return first_ns - 2 * int(noticed_s * NS_PER_S), last_ns
