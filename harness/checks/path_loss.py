"""Whether paths were lost that no fault had hit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite

from harness.analysis.fault_effect import without_effect
from harness.analysis.path_absences import excused_until_ns, unexplained_absences
from harness.analysis.path_accounts import disagreements
from harness.analysis.recovery import first_felt_ns
from harness.analysis.wall_clock import at_clock
from harness.checks.definition import check
from harness.checks.kernel import MAP_UNSEEN, unread_kernel_logs
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import Measurements
from harness.timeline import Event, Happened
from harness.units import NS_PER_S


@check("no unexpected path loss", through_the_lab=True, by_path=True)
def no_unexpected_path_loss(measurements: Measurements) -> Outcome:
    """No path failed, or left the map, but those that a fault had hit, while it lasted.

    By the kernel's log and by the samples: a path that only one of them shows as failed is not
    known to be. Of a path that leaves the map before it fails the samples alone tell.
    Unknown if a disk failed that is not known to be a planned path.
    """
    if text := _losses_unseen(measurements):
        return unknown(text)
    planned = {counters.path for counters in measurements.counters}
    every = [e for e in measurements.timeline if e.what is Happened.PATH_FAILED]
    lost = [e for e in every if e.path in planned]
    others = sorted({e.path for e in every} - planned)
    unexpected = _failed_unexpectedly(measurements, lost)
    absences = unexplained_absences(measurements)
    differs = disagreements(measurements)
    figures = {
        "failed paths": _named(lost) or "none",
        "of these unexpected": _named(unexpected) or "none",
        "out of the map unexpectedly": str(len(absences)),
    }
    numbers = {
        "paths_given_up": len(lost),
        "unexpected": len(unexpected),
        "absent_unexpectedly": len(absences),
    }
    when = ", ".join(f"{e.path}{at_clock(measurements, e)}" for e in unexpected)
    failures = f"paths failed without a fault there: {when}"
    gone = f"not in use without a fault there: {'; '.join(each.text for each in absences)}"
    said = [*([failures] if unexpected else []), *([gone] if absences else [])]
    doubts = [each.text for each in differs]
    doubts += [f"failed, and not known to be a planned path: {other}" for other in others]
    in_doubt = {each.path for each in differs}
    spans = [(e.at_ns, e.at_ns) for e in unexpected if e.path not in in_doubt]
    spans += [
        (each.start_ns, each.end_ns) for each in absences if each.sure and each.path not in in_doubt
    ]
    if not spans and (said or doubts):
        return unknown("; ".join([*said, *doubts]), figures, numbers)
    if spans:
        missed = [m for f in measurements.faults if (m := without_effect(measurements, f))]
        if missed:  # it may have hit these instead
            text = f"{'; '.join(said)}; but {'; '.join(missed)}"
            return unknown(text, figures, numbers)
        first_ns, last_ns = min(start for start, _ in spans), max(end for _, end in spans)
        span_ns = caused(measurements, first_ns, last_ns)
        return failed("; ".join(said), figures, numbers, span_ns)
    if unread := unread_kernel_logs(measurements):
        return unknown("; ".join(unread), figures, numbers)
    text = f"failed paths, each hit by a fault: {_named(lost)}" if lost else "no path failed"
    return passed(text, figures, numbers)


def _named(failed: Sequence[Event]) -> str:
    """The paths, and how often each failed if that was more than once: `a, b (2 times)`."""
    times = Counter(event.path for event in failed)
    return ", ".join(f"{path} ({n} times)" if n > 1 else path for path, n in times.items())


def _failed_unexpectedly(measurements: Measurements, lost: Sequence[Event]) -> list[Event]:
    """The lost paths that no fault explains."""
    return [
        e
        for e in lost
        if not any(
            e.path in f.paths
            and first_felt_ns(measurements, f) <= e.at_ns
            and e.at_ns <= excused_until_ns(measurements, f, e.path)
            for f in measurements.faults
        )
    ]


def _losses_unseen(measurements: Measurements) -> str:
    """Why the log tells nothing of the paths, or nothing."""
    if not measurements.kernel_logs or not measurements.counters:
        return "no kernel log was followed, or no path is known"
    return "" if measurements.path_states else MAP_UNSEEN


def caused(measurements: Measurements, first_ns: int, last_ns: int) -> tuple[int, int] | None:
    """When something can have caused that paths failed; None if at any time.

    Until one fails it takes what the settings of its session allow, at most; twice that.
    """
    noticed_s = max((one.gives_up_s for one in measurements.settings), default=0.0)
    if not isfinite(noticed_s):
        return None
    return first_ns - 2 * int(noticed_s * NS_PER_S), last_ns
