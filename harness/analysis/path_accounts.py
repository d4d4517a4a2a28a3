"""Two accounts of every path's states, the samples and the kernel's log, and where they differ.

Where they do, it is unknown what became of the path. What sampling can miss is no difference: a
path that is given up and reinstated between two samples is in the log alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from harness.measurements import Measurements
from harness.timeline import Happened
from harness.units import NS_PER_MS, NS_PER_S

_LOGGED = {Happened.PATH_FAILED: "failed", Happened.PATH_REINSTATED: "active"}
_OTHER = {"active": "failed", "failed": "active"}
# The clock of the log runs apart from that of the samples by some milliseconds. And when a map is
# loaded anew all its paths are active, until the dead ones are failed again
# (see `kernel_log` in harness/transport).
APART_NS = 500 * NS_PER_MS

_State = tuple[int, str]  # since when, in nanoseconds, and which


@dataclass(frozen=True)
class Disagreement:
    """A path that was in one state by the samples and in the other by the log, until `end_ns`."""

    path: str
    end_ns: int
    text: str


def disagreements(measurements: Measurements) -> list[Disagreement]:
    """The differences of the two accounts; none if one is missing, or the log has gaps.

    The log is that of the initiator, which has the paths.
    """
    looks = measurements.path_states
    logs = [log for log in measurements.kernel_logs if log.machine == measurements.initiator]
    if not looks or not logs or any(log.lost for log in logs):
        return []
    begun_ns = measurements.phases[0].start_ns if measurements.phases else looks[0].at_ns
    found = []
    for path in looks[0].states:
        sampled = [(look.at_ns, look.states.get(path, "missing")) for look in looks]
        # Of how a path joins the map the log says nothing.
        joined = [one for one, look in zip(sampled, looks, strict=True) if path in look.joined]
        logged = [
            (event.at_ns, _LOGGED[event.what])
            for event in measurements.timeline
            if event.what in _LOGGED and event.path == path
        ]
        for start_ns, end_ns, state in _contradicted(sampled, [*sampled[:1], *joined], logged):
            since_s, lasted_s = (ns / NS_PER_S for ns in (start_ns - begun_ns, end_ns - start_ns))
            text = (
                f"by the samples path {path} was {state} for {lasted_s:.1f} s from {since_s:.2f} s "
                f"on, by the kernel log {_OTHER[state]}"
            )
            found.append(Disagreement(path, end_ns, text))
    return found


def _contradicted(
    sampled: Sequence[_State], joined: Sequence[_State], logged: Sequence[_State]
) -> Iterator[tuple[int, int, str]]:
    """Stretches of one sampled state that the log denies: beginning, end and state.

    A stretch is from one sample to the next: within it a path was read as the first one has it.
    """
    told = sorted([*joined, *logged])
    stretches = [
        (start_ns, end_ns, "" if state in _possible(told, logged, start_ns, end_ns) else state)
        for (start_ns, state), (end_ns, _) in pairwise(sampled)
    ]
    for state, group in groupby(stretches, key=lambda stretch: stretch[2]):
        denied = list(group)
        if state:
            yield denied[0][0], denied[-1][1], state


def _possible(
    told: Sequence[_State], logged: Sequence[_State], start_ns: int, end_ns: int
) -> set[str]:
    """The states that a path can have had in a stretch of time; being "missing" is not logged.

    The kernel logs changes only: before each the path was in the other state. So a path that it
    fails twice was active in between, from a time on that is not known: the map was loaded anew.
    """
    first_ns, last_ns = start_ns - APART_NS, end_ns + APART_NS
    if _between(logged, first_ns, last_ns):
        return {"missing", *_OTHER}
    at_first = bisect_left(told, first_ns, key=_when)
    before = told[max(0, at_first - 1) : at_first]
    around = (*before, *_next(logged, last_ns))
    if [state for _, state in around] == ["failed", "failed"]:
        return {"missing", *_OTHER}
    return {"missing", *(state for _, state in (*before, *_between(told, first_ns, last_ns)))}


def _next(states: Sequence[_State], after_ns: int) -> Sequence[_State]:
    first = bisect_right(states, after_ns, key=_when)
    return states[first : first + 1]


def _between(states: Sequence[_State], first_ns: int, last_ns: int) -> Sequence[_State]:
    first = bisect_left(states, first_ns, key=_when)
    return states[first : bisect_right(states, last_ns, key=_when)]


def _when(state: _State) -> int:
    return state[0]
