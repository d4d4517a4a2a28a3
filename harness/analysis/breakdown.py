"""The wait of a fault by its parts: which layer took which time, and how long each was allowed.

The order of an outage: the connection is found dead, the session's recovery times out, the
path is failed, and the I/O completes over another. With no path left it waits
for healing, a login, and a path reinstated. What is held waits for healing, and mostly for nothing
more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.analysis.fault_waits import felt_wait
from harness.analysis.recovery import PathReturn, clock_uncertainty_ns, path_returns, paths_hit
from harness.analysis.stall import Wait
from harness.budget import BudgetTerm, Effect, Layer
from harness.measurements import FaultRecord, Measurements, Wording
from harness.timeline import Event, Happened
from harness.units import NS_PER_S, format_seconds

# Under these no connection need be lost, nor a path given up.
_SESSION_LIVES = frozenset({Effect.HELD, Effect.NOT_READY, Effect.REGROUPED})
_NOTHING = BudgetTerm("the budget", 0.0, "", layers=(Layer.BEFORE_FAULT,))

# A layer, what ends its part, and when that was seen, if it was.
_Step = tuple[Layer, Happened, Event | None]


@dataclass(frozen=True)
class Part:
    """One stretch of a stall or of a recovery, and its share of the budget.

    `layers` are several where it was not seen when the first of them was done; `layer` has their
    names. Times are as they were seen; `uncertainty_s` bounds the error of `seconds`. `terms` of
    the budget allow it, which it may have to share; there are none where the budget has no share
    for it.
    """

    layers: tuple[Layer, ...]
    layer: str
    begins: Happened
    ends: Happened
    start_ns: int
    end_ns: int
    uncertainty_s: float
    terms: tuple[BudgetTerm, ...]

    @property
    def allowed_s(self) -> float | None:
        """None where the budget has no share for it."""
        return sum(term.seconds for term in self.terms) if self.terms else None

    @property
    def source(self) -> str:
        """The names of the terms."""
        return " + ".join(term.name for term in self.terms)

    @property
    def seconds(self) -> float:
        """How long the part lasted; zero if its end was seen before its beginning."""
        return max(0, self.end_ns - self.start_ns) / NS_PER_S

    def seconds_since(self, since_ns: int) -> float:
        """The seconds of the part that came after a point in time."""
        return max(0, self.end_ns - max(self.start_ns, since_ns)) / NS_PER_S

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s \N{PLUS-MINUS SIGN} {format_seconds(self.uncertainty_s)}"


@dataclass(frozen=True)
class Share:
    """Terms of the budget and the parts that have them together."""

    parts: tuple[Part, ...]
    terms: tuple[BudgetTerm, ...]

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def over_s(self) -> float:
        """The seconds above its share; negative below it, zero if it has no share."""
        return self.seconds - sum(term.seconds for term in self.terms) if self.terms else 0.0


@dataclass(frozen=True)
class Breakdown:
    """What waited for one fault: the parts of `outage` follow each other without a gap.

    The ends of the wait are fio's, those of the parts between the kernel's, so that their sum is
    the wait only as far as the clocks agree: to `tolerance_s`, of clock and of fio's log.
    `recovery` tells how the first path came back. `missing` names what was not seen in time or
    in order, so that parts could not be told apart.
    """

    fault: str
    wait: Wait
    outage: tuple[Part, ...]
    recovery: tuple[Part, ...]
    missing: tuple[str, ...]
    tolerance_s: float

    @property
    def sum_s(self) -> float:
        """The seconds of all parts together, each measured by its own ends."""
        return sum(part.seconds for part in self.outage)

    @property
    def adds_up(self) -> bool:
        """Every part was seen to end, and together they are the wait."""
        return not self.missing and abs(self.sum_s - self.wait.seconds) <= self.tolerance_s

    def longest_since(self, since_ns: int) -> str:
        """What took the most after a point in time, as half a sentence."""
        part = max(self.outage, key=lambda part: part.seconds_since(since_ns))
        return f"{part.layer} took {part.seconds_since(since_ns):.2f} s of it"

    @property
    def shares(self) -> tuple[Share, ...]:
        """The parts of the stall by the terms of the budget that they have together."""
        shares: list[Share] = []
        for part in self.outage:
            last = shares[-1] if shares else Share((), ())
            if set(part.terms) & set(last.terms):
                terms = dict.fromkeys((*last.terms, *part.terms))
                shares[-1] = Share((*last.parts, part), tuple(terms))
            else:
                shares.append(Share((part,), part.terms))
        return tuple(shares)

    @property
    def culprit(self) -> str:
        """What exceeded its share the most, as half a sentence; empty if nothing did."""
        worst = max(self.shares, key=lambda share: share.over_s)
        if worst.over_s <= 0:
            return ""
        layers = listed([part.layer for part in worst.parts])
        source = " + ".join(term.name for term in worst.terms)
        verb = "allow" if len(worst.terms) > 1 else "allows"
        allowed_s = worst.seconds - worst.over_s
        return f"{layers} took {worst.seconds:.2f} s where {source} {verb} {allowed_s:g} s"


def breakdown(measurements: Measurements, fault: FaultRecord) -> Breakdown | None:
    """The wait of a fault by its parts; None if no I/O waited for its paths."""
    wait = felt_wait(measurements, fault)
    if wait is None:
        return None
    grain_ns = wait.resolution_ns + clock_uncertainty_ns(measurements)
    begins = Event(wait.start_ns, Happened.IO_STALLED, "fio", wait.stream, grain_ns)
    ends = Event(wait.end_ns, Happened.IO_RESUMED, "fio", wait.stream, grain_ns)
    healed, back = _recovery(measurements, fault)
    steps = _outage(measurements, fault, begins, ends)
    if fault.effects and _SESSION_LIVES.issuperset(fault.effects):
        # Of what need not happen only what did is a step.
        steps = [step for step in steps if step[2]]
        back = [step for step in back if step[2]]
    if fault.io_stops:
        layer = Layer.HELD if Effect.HELD in fault.effects else Layer.NO_PATH
        steps += [(layer, Happened.FAULT_HEALED, healed), *_until_reinstated(back)]
    outage = _in_order(begins, steps, until=ends)
    outage.append((Layer.RESUBMISSION, Happened.IO_RESUMED, ends))
    recovery = _in_order(healed, back)
    unseen = [str(what) for _, what, seen in (*outage, *recovery) if seen is None]
    return Breakdown(
        fault=fault.name,
        wait=wait,
        outage=_parts(begins, outage, fault.budget.terms, measurements.wording),
        recovery=_parts(healed, recovery, fault.budget.terms, measurements.wording),
        missing=tuple(dict.fromkeys(unseen)),
        tolerance_s=grain_ns / NS_PER_S,
    )


def _until_reinstated(back: Sequence[_Step]) -> list[_Step]:
    """What comes before I/O goes over the path."""
    return [step for step in back if step[0] is not Layer.FIRST_IO]


def listed(names: Sequence[str]) -> str:
    """The names as a list for people: "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _outage(
    measurements: Measurements, fault: FaultRecord, begins: Event, ends: Event
) -> list[_Step]:
    """What ended each part of the stall until the path was given up.

    By what was seen of the paths that the fault hit: others are lost for a reason of their own.
    """
    paths = {counters.path for counters in paths_hit(measurements, fault)}
    happened = [
        e
        for e in measurements.timeline
        if e.at_ns >= fault.injected_ns and not _before(ends, e) and e.path in paths
    ]
    timed_out = _last_given_up(happened, Happened.RECOVERY_TIMED_OUT)
    found_dead = [e for e in happened if timed_out is None or e.path == timed_out.path]
    steps: list[_Step] = [
        (
            Layer.DETECTION,
            Happened.CONNECTION_ERROR,
            _last_given_up(found_dead, Happened.CONNECTION_ERROR),
        ),
        (Layer.SESSION_RECOVERY, Happened.RECOVERY_TIMED_OUT, timed_out),
        (
            Layer.PATH_FAILURE,
            Happened.PATH_FAILED,
            _last_given_up(happened, Happened.PATH_FAILED),
        ),
    ]
    if begins.at_ns < fault.injected_ns:
        injected = Event(fault.injected_ns, Happened.FAULT_INJECTED, "harness", fault.name)
        steps.insert(0, (Layer.BEFORE_FAULT, Happened.FAULT_INJECTED, injected))
    return steps


def _in_order(begins: Event, steps: Iterable[_Step], until: Event | None = None) -> list[_Step]:
    """The steps, without the events that were seen before an earlier step's, or after the end."""
    checked: list[_Step] = []
    for layer, what, event in steps:
        if event is None or _before(event, begins) or (until and _before(until, event)):
            checked.append((layer, what, None))
        else:
            checked.append((layer, what, event))
            begins = event
    return checked


def _before(one: Event, other: Event) -> bool:
    """Whether it was seen earlier by more than both uncertainties."""
    return one.at_ns + one.uncertainty_ns + other.uncertainty_ns < other.at_ns


def _last_given_up(happened: Iterable[Event], what: Happened) -> Event | None:
    """The first event of a kind of each path, and of these the last."""
    firsts: dict[str, Event] = {}
    for event in happened:
        if event.what is what:
            firsts.setdefault(event.path, event)
    return max(firsts.values(), default=None)


def _recovery(measurements: Measurements, fault: FaultRecord) -> tuple[Event, list[_Step]]:
    """The healing, and what ended each part of the recovery of the path that came back first."""
    returns = path_returns(measurements, fault)
    first = min(returns, key=lambda r: r.at_ns, default=PathReturn())
    recovered = first.recovered and _by(first.recovered, first.reinstated)
    took_ns = fault.healed_ns - fault.ordered_ns
    healed = Event(fault.healed_ns, Happened.FAULT_HEALED, "harness", fault.name, took_ns)
    return _by(healed, recovered or first.reinstated), [
        (Layer.LOGIN, Happened.SESSION_RECOVERED, recovered),
        (Layer.REINSTATEMENT, Happened.PATH_REINSTATED, first.reinstated),
        (Layer.FIRST_IO, Happened.PATH_CARRIES_IO, first.carries),
    ]


def _by(event: Event, effect: Event | None) -> Event:
    """An event that was known only when it was over, as by the next sample: not after its effect.

    Within the time that it may have taken; an effect that was seen even before is none.
    """
    if effect and event.at_ns - event.uncertainty_ns <= effect.at_ns < event.at_ns:
        return replace(event, at_ns=effect.at_ns)
    return event


def _parts(
    begins: Event, steps: Iterable[_Step], terms: Sequence[BudgetTerm], wording: Wording
) -> tuple[Part, ...]:
    """Parts without a gap; a step whose end was not seen is one part with the next."""
    parts = []
    layers: list[Layer] = []
    for layer, _, ends in steps:
        layers.append(layer)
        if ends is None:
            continue
        parts.append(_part(layers, begins, ends, terms, wording))
        begins, layers = ends, []
    return tuple(parts)


def _part(
    layers: Sequence[Layer],
    begins: Event,
    ends: Event,
    terms: Sequence[BudgetTerm],
    wording: Wording,
) -> Part:
    shares = [term for term in (_NOTHING, *terms) if set(term.layers) & set(layers)]
    whole = set(layers) <= {layer for term in shares for layer in term.layers}
    return Part(
        layers=tuple(layers),
        layer=listed([wording.of(layer) for layer in layers]),
        begins=begins.what,
        ends=ends.what,
        start_ns=begins.at_ns,
        end_ns=ends.at_ns,
        uncertainty_s=(begins.uncertainty_ns + ends.uncertainty_ns) / NS_PER_S,
        terms=tuple(shares) if whole else (),
    )
