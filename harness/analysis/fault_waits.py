"""Which waits of I/O a fault may excuse, and which have the slack only.

A fault excuses the wait that ends with a path given up: until then the initiator cannot know that
the path is lost. It excuses no other, however many there are while the fault lasts: the surviving
paths have no reason to stand still. A fault under which a path may go on excuses each of them, from
when on it is felt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.fault_effect import in_reserve
from harness.analysis.path_absences import excused_until_ns
from harness.analysis.recovery import (
    back_ns,
    clock_uncertainty_ns,
    first_felt_ns,
    next_injection_ns,
    path_returns,
    paths_hit,
)
from harness.analysis.stall import Kind, LongIo, Moment, Stall, Waits, waits_of, worst_of
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Event, Happened
from harness.units import NS_PER_MS, NS_PER_S

_SHORTEST_NS = 500 * NS_PER_MS
# The kernel gives a path up some time before I/O goes on, and its clock is not fio's.
_ROOM_NS = 250 * NS_PER_MS
# Ten samples of a phase show what a path carried.
_LONG_ENOUGH_NS = NS_PER_S


def moments(measurements: Measurements, fault: FaultRecord) -> tuple[Moment, ...]:
    """The moments of which a wait has to include one, to be the fault's.

    Each time at which one of its paths was given up. A path that came back before it was given up
    held its I/O until then: so these are healing, the login, and the first I/O over it. Where no
    path was left they count, too, but of the path that came back first: from then on I/O has a
    path. A path that carried nothing has none: no I/O can have waited for it.
    """
    given_up = [moment_of(event) for event in given_up_in_use(measurements, fault)]
    return (*given_up, *_came_back(measurements, fault))


def _came_back(measurements: Measurements, fault: FaultRecord) -> list[Moment]:
    """The healing, and how paths came back for which I/O waited until then."""
    lost = {event.path for event in _given_up(measurements, fault)}
    hit = [counters.path for counters in paths_hit(measurements, fault)]
    used = {path for path in hit if _carried(measurements, fault, path, fault.healed_ns)}
    returns = dict(zip(hit, path_returns(measurements, fault), strict=True))
    waited_for = used - lost
    if fault.io_stops and used:
        first_ns = min(back.at_ns for back in returns.values())
        waited_for |= {path for path, back in returns.items() if back.at_ns <= first_ns}
    if not waited_for:
        return []
    clock_ns = clock_uncertainty_ns(measurements)
    healed = Moment(fault.healed_ns, clock_ns + fault.healed_ns - fault.ordered_ns)
    return [
        healed,
        *(
            moment_of(event)
            for path in waited_for
            for event in (returns[path].recovered, returns[path].reinstated, returns[path].carries)
            if event is not None
        ),
    ]


def moment_of(event: Event) -> Moment:
    """When it happened, with room for what the kernel does until I/O goes on."""
    return Moment(event.at_ns, event.uncertainty_ns + _ROOM_NS)


def _carried(measurements: Measurements, fault: FaultRecord, path: str, end_ns: int) -> bool:
    """Whether a path may have carried I/O until then, since the last phase before a fault began.

    A phase that began just before the fault has too few samples to tell. A path that was in reserve
    and came into use has I/O to wait for, though its counters may not have it yet.
    """
    settled_ns = [
        phase.start_ns
        for phase in measurements.phases
        if phase.settled and phase.start_ns <= fault.injected_ns - _LONG_ENOUGH_NS
    ]
    counters = next((one for one in measurements.counters if one.path == path), None)
    if not settled_ns or counters is None:
        return True
    since_ns = max(settled_ns)
    if path in in_reserve(measurements, since_ns, end_ns):
        return False
    if path in in_reserve(measurements, since_ns, fault.injected_ns):
        return True
    return counters.between(since_ns, end_ns - _ROOM_NS) != 0


def given_up_in_use(measurements: Measurements, fault: FaultRecord) -> list[Event]:
    """Each time at which a path of a fault was given up that may have carried I/O until then."""
    return [
        event
        for event in _given_up(measurements, fault)
        if _carried(measurements, fault, event.path, event.at_ns)
    ]


def _given_up(measurements: Measurements, fault: FaultRecord) -> list[Event]:
    """Each time at which a path of a fault was given up, as far as the fault explains it."""
    until_ns = {path: excused_until_ns(measurements, fault, path) for path in fault.paths}
    from_ns = first_felt_ns(measurements, fault)
    return [
        e
        for e in measurements.timeline
        if e.what is Happened.PATH_FAILED
        and e.path in until_ns
        and from_ns <= e.at_ns <= until_ns[e.path]
    ]


def lost_ns(measurements: Measurements, fault: FaultRecord) -> list[int]:
    """When each path of a fault was lost that was given up, as far as the fault explains it.

    A map that is loaded anew has tried a dead path once more: the last time before the order to
    heal counts. What is given up once more after the order says nothing about the outage.
    """
    times_ns: dict[str, list[int]] = {}
    for event in _given_up(measurements, fault):
        times_ns.setdefault(event.path, []).append(event.at_ns)
    return [
        max((at_ns for at_ns in each if at_ns <= fault.ordered_ns), default=min(each))
        for each in times_ns.values()
    ]


def went_on_ns(measurements: Measurements, fault: FaultRecord) -> int | None:
    """When I/O went on after the outage's longest wait that the fault excuses.

    Of those that began before the order to heal: later ones are none of the outage. If none of its
    paths was seen to be given up it is the longest of all of these. None if no I/O waited: paths in
    reserve are given up without.
    """
    waits = [
        one.within(begun_before_ns=fault.ordered_ns)
        for one in waits_during(measurements, fault, Stall)
    ]
    ends = moments(measurements, fault)
    wait = worst_of(one.only(one.including(ends)) for one in waits)
    if wait is None and not _given_up(measurements, fault):
        wait = worst_of(waits)
    return wait.end_ns if wait else None


def excused_wait(measurements: Measurements, fault: FaultRecord, kind: type[Kind]) -> Kind | None:
    """The longest wait that has the fault's budget; None if there is none.

    Any of them has it while a path may go on, but worse: I/O that was sent over it may wait.
    """
    if fault.limping:
        return worst_of(
            one.within(start_ns=fault.felt_from_ns)
            for one in waits_during(measurements, fault, kind)
        )
    ends = moments(measurements, fault)
    return worst_of(
        one.only(one.including(ends)) for one in waits_during(measurements, fault, kind)
    )


def other_wait(measurements: Measurements, fault: FaultRecord, kind: type[Kind]) -> Kind | None:
    """The longest wait while a fault was felt that it does not excuse."""
    if fault.limping:
        return worst_of(
            one.within(end_ns=fault.felt_from_ns) for one in waits_during(measurements, fault, kind)
        )
    ends = moments(measurements, fault)
    return worst_of(
        one.only(~one.including(ends)) for one in waits_during(measurements, fault, kind)
    )


def longest_during(measurements: Measurements, fault: FaultRecord, kind: type[Kind]) -> Kind | None:
    """The wait of a fault: the longest that it excuses.

    If none of its paths was seen to be given up it is the longest of all while the fault was felt.
    """
    known = fault.io_stops or fault.limping or _given_up(measurements, fault)
    longest = excused_wait(measurements, fault, kind) if known else None
    return longest or worst_of(waits_during(measurements, fault, kind))


def felt_wait(measurements: Measurements, fault: FaultRecord) -> Stall | LongIo | None:
    """What waited for the paths of a fault until they were given up, or back; None if nothing did.

    The stall of a stream; or a single I/O where no stream stood still for half as long. If none of
    its paths was seen to be given up it is the longest stall while the fault was felt.
    """
    if not (fault.io_stops or fault.limping or _given_up(measurements, fault)):
        return worst_of(waits_during(measurements, fault, Stall))
    stall = excused_wait(measurements, fault, Stall)
    single = excused_wait(measurements, fault, LongIo)
    if stall is None or (single is not None and stall.seconds < single.seconds / 2):
        return single
    return stall


def stall_during(measurements: Measurements, fault: FaultRecord) -> Stall | None:
    """The stall of a fault, as `longest_during` has it."""
    return longest_during(measurements, fault, Stall)


def wait_before(measurements: Measurements, first: FaultRecord, kind: type[Kind]) -> Kind | None:
    """The longest wait that was over before the first fault, from the first I/O on."""
    return worst_of(one.within(end_ns=first.injected_ns) for one in waits_of(measurements, kind))


def wait_after(measurements: Measurements, fault: FaultRecord, kind: type[Kind]) -> Kind | None:
    """The longest wait that began when all was back, and ended before the next fault."""
    return worst_of(
        one.within(
            end_ns=next_injection_ns(measurements, fault),
            begun_from_ns=back_ns(measurements, fault),
        )
        for one in waits_of(measurements, kind)
    )


def wait_cut_by(measurements: Measurements, fault: FaultRecord, kind: type[Kind]) -> Kind | None:
    """The longest wait that was there when a fault was injected, as far as it had come by then."""
    longest = (
        one.within(start_ns=fault.injected_ns, begun_before_ns=fault.injected_ns).longest
        for one in waits_of(measurements, kind)
    )
    cut = [replace(wait, end_ns=fault.injected_ns) for wait in longest if wait is not None]
    return max(cut, key=lambda wait: wait.seconds, default=None)


def still_felt(measurements: Measurements, fault: FaultRecord, wait_ns: int) -> FaultRecord | None:
    """The earlier fault under which I/O began to wait at `wait_ns`, before all was back from it."""
    return next(
        (
            earlier
            for earlier in measurements.faults
            if earlier.injected_ns < fault.injected_ns and wait_ns < back_ns(measurements, earlier)
        ),
        None,
    )


def waits_during(
    measurements: Measurements, fault: FaultRecord, kind: type[Kind]
) -> Iterator[Waits[Kind]]:
    """What ended after a fault was injected, and began before all was back."""
    until_ns = next_injection_ns(measurements, fault)
    over_ns = back_ns(measurements, fault)
    for one in waits_of(measurements, kind):
        yield one.within(start_ns=fault.injected_ns, end_ns=until_ns, begun_before_ns=over_ns)


@dataclass(frozen=True)
class StallsTogether:
    """The stalls of one stream while a fault was felt; `spans` is from when to when each was."""

    stream: str
    spans: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return len(self.spans)

    @property
    def seconds(self) -> float:
        """All of them together."""
        return sum(end - start for start, end in self.spans) / NS_PER_S


def stalls_of(measurements: Measurements, fault: FaultRecord) -> list[StallsTogether]:
    """The stalls of each stream that did I/O while a fault was felt, from its injection on.

    Not those of every moment: twice the longest before any fault, or 0.5 s, is no stall here.
    """
    first_ns = min(each.injected_ns for each in measurements.faults)
    found = []
    for before, during in zip(
        waits_of(measurements, Stall), waits_during(measurements, fault, Stall), strict=True
    ):
        usual = before.within(end_ns=first_ns).longest
        floor_ns = max(_SHORTEST_NS, 2 * (usual.end_ns - usual.start_ns) if usual else 0)
        starts = np.maximum(during.start_ns, fault.injected_ns)
        long = during.end_ns - starts > floor_ns
        spans = zip(starts[long].tolist(), during.end_ns[long].tolist(), strict=True)
        if len(starts):
            found.append(StallsTogether(during.stream, tuple(spans)))
    return found
