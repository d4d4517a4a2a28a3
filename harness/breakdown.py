"""The stall of a fault by its parts: which layer took which time, and how long each was allowed.

The order of an outage: the connection is found dead, the session's recovery times out, the
device mapper fails the path, and the I/O completes over another. With no path left it waits
for healing, a login, and a path reinstated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.healing import (
    PathReturn,
    clock_uncertainty_ns,
    path_returns,
    paths_hit,
    stall_during,
)
from harness.measurements import BudgetTerm, FaultRecord, Layer, Measurements
from harness.stall import Stall
from harness.timeline import Event, Happened
from harness.units import NS_PER_S, format_seconds

# The kernel names what failed by session: "session2: …", "connection2:0: …".
_SESSION = re.compile(r"\b(?:session|connection)(\d+)\b")
_NOTHING = BudgetTerm("the budget", 0.0, "", layers=(Layer.BEFORE_FAULT,))

# A layer, what ends its part, and when that was seen, if it was.
_Step = tuple[Layer, Happened, Event | None]


@dataclass(frozen=True)
class Part:
    """One stretch of a stall or of a recovery, and its share of the budget.

    `layer` names several where it was not seen when the first of them was done. `uncertainty_s`
    bounds the error of `seconds`. `allowed_s` is None where the budget has no share for it;
    `source` names the terms of the share. Parts of one source share it.
    """

    layer: str
    begins: Happened
    ends: Happened
    start_ns: int
    end_ns: int
    uncertainty_s: float
    allowed_s: float | None
    source: str

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S

    def __str__(self) -> str:
        text = f"{self.seconds:.3f} s \N{PLUS-MINUS SIGN} {format_seconds(self.uncertainty_s)}"
        if self.allowed_s is None:
            return text
        return f"{text} of {self.allowed_s:g} s ({self.source})"


@dataclass(frozen=True)
class Breakdown:
    """One fault's stall: the parts of `outage` follow each other without a gap and make it up.

    `recovery` tells how the first path came back. `missing` names what was not seen in time, so
    that parts could not be told apart.
    """

    fault: str
    stall: Stall
    outage: tuple[Part, ...]
    recovery: tuple[Part, ...]
    missing: tuple[str, ...]

    @property
    def culprit(self) -> str:
        """What exceeded its share the most, as half a sentence; empty if nothing did."""
        sharing: dict[str, list[Part]] = {}
        for part in self.outage:
            sharing.setdefault(part.source, []).append(part)
        most_s, text = 0.0, ""
        for source, parts in sharing.items():
            allowed_s = parts[0].allowed_s
            took_s = sum(part.seconds for part in parts)
            if allowed_s is not None and took_s - allowed_s > most_s:
                most_s = took_s - allowed_s
                verb = "allow" if " + " in source else "allows"
                layers = listed([part.layer for part in parts])
                text = f"{layers} took {took_s:.2f} s where {source} {verb} {allowed_s:g} s"
        return text


def breakdown(measurements: Measurements, fault: FaultRecord) -> Breakdown | None:
    """The stall of a fault by its parts; None if no I/O was completed since it was injected."""
    stall = stall_during(measurements, fault)
    if stall is None:
        return None
    grain_ns = stall.resolution_ns + clock_uncertainty_ns(measurements)
    begins = Event(stall.start_ns, Happened.IO_STALLED, "fio", stall.stream, grain_ns)
    ends = Event(stall.end_ns, Happened.IO_RESUMED, "fio", stall.stream, grain_ns)
    outage = [
        *_outage(measurements, fault, stall),
        (Layer.RESUBMISSION, Happened.IO_RESUMED, ends),
    ]
    recovery = _recovery(measurements, fault)
    unseen = [str(what) for _, what, seen in (*outage, *recovery) if seen is None]
    return Breakdown(
        fault=fault.name,
        stall=stall,
        outage=_parts(begins, outage, fault.budget.terms),
        recovery=_parts(_healed(fault), recovery, fault.budget.terms),
        missing=tuple(dict.fromkeys(unseen)),
    )


def listed(names: Sequence[str]) -> str:
    """As in "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _outage(measurements: Measurements, fault: FaultRecord, stall: Stall) -> list[_Step]:
    """What ended each part of the stall but the last; only what happened before its end."""

    def in_time(event: Event | None) -> Event | None:
        if event and event.at_ns <= stall.end_ns + event.uncertainty_ns + stall.resolution_ns:
            return replace(event, at_ns=min(event.at_ns, stall.end_ns))
        return None

    happened = [
        e for e in measurements.timeline if e.at_ns >= fault.injected_ns and in_time(e) is not None
    ]
    timed_out = _last_given_up(happened, Happened.RECOVERY_TIMED_OUT)
    if timed_out is not None:  # the same session's
        happened = [
            e
            for e in happened
            if e.what is not Happened.CONNECTION_ERROR or _subject(e) == _subject(timed_out)
        ]
    paths = {counters.path for counters in paths_hit(measurements, fault)}
    failures = [e for e in happened if not paths or e.detail in paths]
    steps: list[_Step] = [
        (
            Layer.DETECTION,
            Happened.CONNECTION_ERROR,
            _last_given_up(happened, Happened.CONNECTION_ERROR),
        ),
        (Layer.SESSION_RECOVERY, Happened.RECOVERY_TIMED_OUT, timed_out),
        (
            Layer.DEVICE_MAPPER,
            Happened.PATH_FAILED,
            _last_given_up(failures, Happened.PATH_FAILED),
        ),
    ]
    if stall.start_ns < fault.injected_ns:
        injected = Event(fault.injected_ns, Happened.FAULT_INJECTED, "harness", fault.name)
        steps.insert(0, (Layer.BEFORE_FAULT, Happened.FAULT_INJECTED, injected))
    if fault.io_stops:
        steps.append((Layer.NO_PATH, Happened.FAULT_HEALED, _healed(fault)))
        steps += _recovery(measurements, fault)[:2]
    return [(layer, what, in_time(event)) for layer, what, event in steps]


def _last_given_up(happened: Iterable[Event], what: Happened) -> Event | None:
    """Of every session or path the first event of a kind, and of these the last."""
    firsts: dict[str, Event] = {}
    for event in happened:
        if event.what is what:
            firsts.setdefault(_subject(event), event)
    return max(firsts.values(), default=None)


def _subject(event: Event) -> str:
    """The session that a message of the kernel names, or the path."""
    match = _SESSION.search(event.detail)
    return match[1] if match else event.detail


def _recovery(measurements: Measurements, fault: FaultRecord) -> list[_Step]:
    """What ended each part of the recovery of the path that came back first."""
    returns = path_returns(measurements, fault)
    first = min(returns, key=lambda r: r.at_ns, default=PathReturn())
    return [
        (Layer.LOGIN, Happened.SESSION_RECOVERED, first.recovered),
        (Layer.REINSTATEMENT, Happened.PATH_REINSTATED, first.reinstated),
        (Layer.FIRST_IO, Happened.PATH_CARRIES_IO, first.carries),
    ]


def _parts(begins: Event, steps: Iterable[_Step], terms: Sequence[BudgetTerm]) -> tuple[Part, ...]:
    """Parts without a gap; a step whose end was not seen is one part with the next.

    What was over before the part began took no time of it.
    """
    parts = []
    layers: list[Layer] = []
    for layer, _, seen in steps:
        layers.append(layer)
        if seen is None:
            continue
        ends = replace(seen, at_ns=max(seen.at_ns, begins.at_ns))
        parts.append(_part(layers, begins, ends, terms))
        begins, layers = ends, []
    return tuple(parts)


def _part(layers: Sequence[Layer], begins: Event, ends: Event, terms: Sequence[BudgetTerm]) -> Part:
    shares = [term for term in (_NOTHING, *terms) if set(term.layers) & set(layers)]
    whole = set(layers) <= {layer for term in shares for layer in term.layers}
    return Part(
        layer=listed(layers),
        begins=begins.what,
        ends=ends.what,
        start_ns=begins.at_ns,
        end_ns=ends.at_ns,
        uncertainty_s=(begins.uncertainty_ns + ends.uncertainty_ns) / NS_PER_S,
        allowed_s=sum(term.seconds for term in shares) if whole else None,
        source=" + ".join(term.name for term in shares) if whole else "",
    )


def _healed(fault: FaultRecord) -> Event:
    return Event(fault.healed_ns, Happened.FAULT_HEALED, "harness", fault.name)
