"""Whether all paths are as before once the faults are healed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.confidence import ratio_of_means
from harness.analysis.fault_effect import in_reserve
from harness.analysis.path_absences import FEWEST_LOOKS
from harness.analysis.path_accounts import APART_NS, disagreements
from harness.analysis.throughput import BIN_NS
from harness.checks.definition import check
from harness.checks.excuses import disturbed, unless_samples_are_missing
from harness.checks.outcome import Outcome, failed, first_bad, passed, unknown
from harness.measurements import Measurements
from harness.timeline import Happened, Phase
from harness.units import NS_PER_S, format_size

_LAST_LOOK_NS = NS_PER_S
_FEWEST_BINS = 3
_RECOVERY_S = 45.0  # at least: a busy host may take longer than the settings allow


@check("paths restored", through_the_lab=True)
def paths_restored(measurements: Measurements) -> Outcome:
    """At the end every path is active again, and has carried I/O since healing if it is in use.

    A path that is so only since the last second must have been reinstated, or read by itself then.
    And it leads to the same LUN as before, by what the disk says of itself when it is asked then.
    """
    if text := _not_seen_to_return(measurements):
        return unknown(text)
    outcome = _every_path_used(measurements)
    elsewhere = _which_lun(measurements, outcome.figures)
    return first_bad(filter(None, (outcome, elsewhere))) or outcome


def _every_path_used(measurements: Measurements) -> Outcome:
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
            return unknown(text, figures)
        return failed(text, figures)
    reserve = in_reserve(measurements, phase.start_ns, phase.end_ns)
    if idle := _idle(measurements, phase, reserve, figures):
        return unless_samples_are_missing(idle, measurements)
    if doubtful := _active_only_now(measurements):
        return unknown(
            f"active at the end, and not in the second before: {', '.join(doubtful)}; a map that "
            "is loaded anew shows a dead path so, too, and nothing else tells",
            figures,
        )
    text = "every path is active and carries I/O"
    if reserve:
        text = f"every path is active; {', '.join(sorted(reserve))} in reserve"
    return passed(text, figures)


def _active_only_now(measurements: Measurements) -> list[str]:
    """The paths that were out of use in the last second, and that nothing else shows to be back.

    That they are is told by the kernel's log, or by the read-back over the path alone.
    """
    back = measurements.read_back
    since_ns = measurements.path_states[-1].at_ns - _LAST_LOOK_NS
    looks = [look for look in measurements.path_states if look.at_ns >= since_ns]
    found = []
    for path in (counters.path for counters in measurements.counters):
        out_ns = [look.at_ns for look in looks if look.states.get(path) != "active"]
        was_read = back is not None and path not in back.away and back.checked.get(path, 0) > 0
        if out_ns and not was_read and not _reinstated(measurements, path, out_ns[-1] - APART_NS):
            found.append(path)
    return found


def _reinstated(measurements: Measurements, path: str, since_ns: int) -> bool:
    """Whether the kernel's log has a path last as reinstated, since some time."""
    told = [
        event
        for event in measurements.timeline
        if event.what in {Happened.PATH_FAILED, Happened.PATH_REINSTATED} and event.path == path
    ]
    return bool(told) and told[-1].what is Happened.PATH_REINSTATED and told[-1].at_ns >= since_ns


def _idle(
    measurements: Measurements, phase: Phase, reserve: frozenset[str], figures: dict[str, str]
) -> Outcome | None:
    """The outcome if a path carried nothing, and was not in reserve; `figures` get all bytes."""
    for counters in measurements.counters:
        carried = counters.between(phase.start_ns, phase.end_ns)
        if carried is None:
            return unknown(f"no byte counters of path {counters.path}", figures)
        figures[f"path {counters.path} in phase {phase.name!r}"] = format_size(carried)
        if carried == 0 and counters.path not in reserve:
            text = f"path {counters.path} is active but carried nothing {phase.name}"
            if not _groups_seen(measurements, phase.start_ns, phase.end_ns):
                return unknown(f"{text}; but it is not known which group was in use", figures)
            return failed(text, figures)
    return None


def _which_lun(measurements: Measurements, figures: Mapping[str, str]) -> Outcome | None:
    """What is wrong or unknown about where the paths lead; None if nothing is.

    Where nothing was read back nothing was asked, and *data intact* says so.
    """
    back = measurements.read_back
    if back is None:
        return None
    if others := [f"{place} now leads to {lun}" for place, lun in back.other_luns.items()]:
        return failed(f"another LUN than before: {'; '.join(others)}", figures)
    if silent := [f"{place} ({why})" for place, why in back.silent.items()]:
        return unknown(f"did not say which LUN it leads to: {', '.join(silent)}", figures)
    return None


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


@check("load shared again", through_the_lab=True, by_samples=True)
def load_shared_again(measurements: Measurements, at_least: float) -> Outcome:
    """Each path carries at least that part of the share that it carried before the fault.

    A path that was in reserve before must be in reserve again: else I/O did not fail back. A path
    that came back slow may be given less than its share, so that neither throughput nor latency
    need suffer while it is useless.
    """
    before, after = measurements.before, measurements.phases[-1]
    if before is None or before is after:
        return unknown("there is no phase after a fault")
    if text := _cut_short_too_soon(measurements):
        return unknown(text)
    was, became = _shares(measurements, before), _shares(measurements, after)
    if not was or not became:
        return unknown("the share of some path is not known")
    figures = {
        f"path {path} {before.name} / {after.name}": f"{was[path]:.0%} / {became[path]:.0%}"
        for path in was
    }
    numbers = {f"share_before_{path}": share for path, share in was.items()}
    numbers |= {f"share_after_{path}": share for path, share in became.items()}
    less = [path for path in was if became[path] < at_least * was[path]]
    proven = [path for path in less if _proven_less(measurements, path, at_least)]
    poor = [
        f"path {path} carries {became[path]:.0%} of the load after the fault, "
        f"{was[path]:.0%} before"
        for path in proven or less
    ]
    in_use = _in_use_at_last(measurements, before, after)
    kept = [
        f"path {path} was in reserve before the fault, and is in use after it: no failback"
        for path in sorted(in_use or ())
    ]
    if text := "; ".join([*poor, *kept]):
        doubt = disturbed(measurements, before, after, figures)
        if not (proven or kept or doubt):
            doubt = "the shares vary too much to tell"
        said = unknown(f"{text}; {doubt}") if doubt else failed(text)
        return replace(said, figures=figures, numbers=numbers)
    if in_use is None:
        return unknown("it is not known which group of paths was in use", figures, numbers)
    return passed("every path carries its share again", figures, numbers)


def _proven_less(measurements: Measurements, path: str, at_least: float) -> bool:
    """Whether a path's share is surely too small, by its spread over both phases."""
    was, became = measurements.before, measurements.phases[-1]
    if was is None:
        return False
    before, after = (_binned_shares(measurements, path, phase) for phase in (was, became))
    if min(len(before), len(after)) < _FEWEST_BINS or not before.any():
        return False
    return ratio_of_means(before, after).high < at_least


def _binned_shares(measurements: Measurements, path: str, phase: Phase) -> NDArray[np.float64]:
    """A path's part of all bytes, for each half second of a phase in which any were carried."""
    edges = np.arange(phase.start_ns, phase.end_ns + 1, BIN_NS)
    carried = {
        one.path: np.diff(np.interp(edges, one.at_ns, one.of_load))
        for one in measurements.counters
        if len(one.at_ns)
    }
    every = np.sum(list(carried.values()), axis=0)
    return np.asarray(carried[path][every > 0] / every[every > 0])


def _in_use_at_last(
    measurements: Measurements, before: Phase, after: Phase
) -> frozenset[str] | None:
    """Paths in reserve in all of the phase before, and in no look of the last second after.

    None if that is not known: nobody saw a group in use before, or too few looks show one after.
    """
    if not _groups_seen(measurements, before.start_ns, before.end_ns):
        return None
    reserve = in_reserve(measurements, before.start_ns, before.end_ns)
    since_ns = max(after.start_ns, after.end_ns - NS_PER_S)
    looks = _groups_seen(measurements, since_ns, after.end_ns)
    if reserve and len(looks) < FEWEST_LOOKS:
        return None
    return reserve.difference(*looks)


def _groups_seen(measurements: Measurements, start_ns: int, end_ns: int) -> list[frozenset[str]]:
    """The paths in reserve by each look in a stretch of time that shows a group in use."""
    return [
        seen.reserve
        for seen in measurements.path_states
        if start_ns <= seen.at_ns <= end_ns and seen.reserve is not None
    ]


def _shares(measurements: Measurements, phase: Phase) -> dict[str, float]:
    """The part of all bytes that each path carried in a phase; empty if that is not known."""
    carried = {c.path: c.load_between(phase.start_ns, phase.end_ns) for c in measurements.counters}
    known = {path: count for path, count in carried.items() if count is not None}
    total = sum(known.values())
    if len(known) < len(carried) or not total:
        return {}
    return {path: count / total for path, count in known.items()}
