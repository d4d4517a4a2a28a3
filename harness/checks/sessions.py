"""Whether the initiator is logged in as it was meant to be, before anything is broken."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.negotiation import differing_values, redirections, unknown_values
from harness.analysis.sessions import login_differences, unknown_logins
from harness.analysis.wires import other_wires, untold
from harness.checks.definition import check
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import Measurements, PlannedSession, SessionSettings
from harness.units import format_size


@check("sessions as planned")
def sessions_as_planned(measurements: Measurements) -> Outcome:
    """One session for every path, each through its own link, with the timeouts that were demanded.

    Read from sysfs before the first fault. Two sessions over one cable look like two paths until
    that cable is cut: so each NIC must carry at least what the paths of its link carry. A timeout
    that was not taken over makes the budget long, and every stall fit.
    What was negotiated is read again at the end: a path that comes back has logged in anew. If a
    login was redirected, it is unknown whether a fault has hit that session; so is what a session
    negotiated that has no connection, or whose driver does not tell. Timeouts that changed on the
    way leave it unknown which budget a fault had.
    """
    if not measurements.planned:
        return unknown("it is not known which sessions were planned")
    figures = {
        f"session of path {one.path}": f"through {one.through or 'none of the links'}, {one.text}"
        for one in measurements.settings
    } | dict(_traffic(measurements))
    if elsewhere := [p.cause for each in _each(measurements) for p in redirections(*each)]:
        return unknown("; ".join(dict.fromkeys(elsewhere)), figures)
    if text := _wrong(measurements):
        return failed(text, figures)
    if text := _unknown(measurements):
        return unknown(text, figures)
    count = len(measurements.planned)
    figures |= {
        f"wire of link {link}": "too few bytes to prove it" for link in untold(measurements)
    }
    return passed(f"{count} sessions, each through its own link", figures)


def _wrong(measurements: Measurements) -> str:
    """What surely differs from the plan, or nothing."""
    planned = measurements.planned
    if wrong := [p.cause for p in login_differences(planned, measurements.settings)]:
        return "; ".join(wrong)
    if elsewhere := list(map(str, other_wires(measurements))):
        return "; ".join(elsewhere)
    came_back = _pairs(planned, measurements.settings_after or ())
    other = [p.cause for each in came_back for p in differing_values(*each)]
    return f"once I/O was over, {'; '.join(other)}" if other else ""


def _unknown(measurements: Measurements) -> str:
    """What is not known of the sessions, or nothing."""
    without = {one.path for one in measurements.counters} - {
        one.path for one in measurements.planned
    }
    if without:
        return f"it is not known which session was planned for path {', '.join(sorted(without))}"
    if changed := [text for each in _same_session(measurements) for text in _changes(*each)]:
        return f"no budget holds for the whole test: {'; '.join(changed)}"
    unknown = [p.cause for p in unknown_logins(measurements.planned, measurements.settings)]
    return "; ".join(unknown or [*_unknown_after(measurements), *_unwatched(measurements)])


def _unwatched(measurements: Measurements) -> Iterator[str]:
    """The links whose NICs were not watched: their paths may share a wire."""
    watched = {one.link for one in measurements.traffic if len(one.at_ns) > 1}
    for link in sorted({one.through for one in measurements.planned if one.through} - watched):
        yield f"what the NIC of link {link} carried was not sampled"


def _traffic(measurements: Measurements) -> Iterator[tuple[str, str]]:
    for one in measurements.traffic:
        if len(one.at_ns) > 1:
            sent, received = (format_size(int(n[-1] - n[0])) for n in (one.sent, one.received))
            yield f"link {one.link}", f"NIC {one.nic} sent {sent} and received {received}"


def _unknown_after(measurements: Measurements) -> Iterator[str]:
    """Why it is not known what came back."""
    if measurements.settings_after is None:
        yield "the sessions were not looked at once I/O was over"
        return
    for plan in measurements.planned:
        found = [one for one in measurements.settings_after if plan.is_of(one)]
        if not found:
            yield f"once I/O was over, path {plan.path} had no session"
        for session in found:
            for problem in unknown_values(plan, session):
                yield f"once I/O was over, {problem.cause}"


def _same_session(
    measurements: Measurements,
) -> Iterator[tuple[SessionSettings, SessionSettings]]:
    """Each session as it was before the I/O and as it was afterwards."""
    for was in measurements.settings:
        for became in measurements.settings_after or ():
            same = (became.path, became.target) == (was.path, was.target)
            if same and became.is_up:
                yield was, became


def _changes(was: SessionSettings, became: SessionSettings) -> Iterator[str]:
    """The timeouts of a session that changed since the beginning, when budgets are made."""
    before = {one.name: one for one in was.timeouts}
    for after in became.timeouts:
        if (old := before.get(after.name, after)) != after:
            yield (f"{after.name} of the session of path {was.path} was {old} and became {after}")


def _each(measurements: Measurements) -> Iterator[tuple[PlannedSession, SessionSettings]]:
    yield from _pairs(measurements.planned, measurements.settings)
    yield from _pairs(measurements.planned, measurements.settings_after or ())


def _pairs(
    planned: tuple[PlannedSession, ...], sessions: tuple[SessionSettings, ...]
) -> Iterator[tuple[PlannedSession, SessionSettings]]:
    """Each plan with each session that is of it."""
    for plan in planned:
        for session in sessions:
            if plan.is_of(session):
                yield plan, session
