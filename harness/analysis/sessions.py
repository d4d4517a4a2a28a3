"""Whether the initiator is logged in as it was meant to be; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.advice import NO_ADVICE, Advice
from harness.analysis.negotiation import differing_values, redirections, unknown_values
from harness.errors import Problem
from harness.measurements import PlannedSession, SessionSettings


def login_problems(
    planned: Sequence[PlannedSession],
    sessions: Sequence[SessionSettings],
    advice: Advice = NO_ADVICE,
) -> Iterator[Problem]:
    """What differs from the plan, and what of it is not known."""
    yield from login_differences(planned, sessions, advice)
    yield from unknown_logins(planned, sessions, advice)


def login_differences(
    planned: Sequence[PlannedSession],
    sessions: Sequence[SessionSettings],
    advice: Advice = NO_ADVICE,
) -> Iterator[Problem]:
    """What differs from the plan: the number of sessions, their ways, logins and timeouts."""
    for plan in planned:
        found = [one for one in sessions if plan.is_of(one)]
        yield from _differences(plan, found, advice)


def unknown_logins(
    planned: Sequence[PlannedSession],
    sessions: Sequence[SessionSettings],
    advice: Advice = NO_ADVICE,
) -> Iterator[Problem]:
    """Why it is not known of some session whether it is as planned."""
    for plan in planned:
        for session in sessions:
            if not plan.is_of(session):
                continue
            if not session.is_up and not plan.negotiated:
                yield Problem(
                    f"the session of path {plan.path} is not logged in (its state is "
                    f"{session.state}), so its way is unknown",
                    advice.not_up,
                )
            known = {timeout.name for timeout in session.timeouts}
            for name, wanted in plan.timeouts.items():
                if name not in known:
                    yield Problem(
                        f"{name} of the session of path {plan.path} should be {wanted} s, and "
                        "what it is was not told",
                        advice.timeouts.get(name, ""),
                    )
            yield from unknown_values(plan, session, advice)


def _differences(
    planned: PlannedSession, found: Sequence[SessionSettings], advice: Advice
) -> Iterator[Problem]:
    if len(found) != 1:
        yield Problem(
            f"path {planned.path} has {len(found)} sessions instead of one",
            advice.too_many if found else advice.missing,
        )
    for session in found:
        if session.is_up and session.through != planned.through:
            end = f"link {session.through}" if session.through else "none of the links"
            yield Problem(
                f"the session of path {planned.path} runs through {end} instead of link "
                f"{planned.through}",
                "`ip route get` to the portal must name the NIC of its own network, with the "
                "address that networks.N.initiator has",
            )
        yield from redirections(planned, session)
        yield from differing_values(planned, session, advice)
        for timeout in session.timeouts:
            wanted = planned.timeouts.get(timeout.name, timeout.value)
            if timeout.value != wanted:
                yield Problem(
                    f"{timeout.name} of the session of path {planned.path} is "
                    f"{timeout} instead of {wanted} s",
                    advice.timeouts.get(timeout.name, ""),
                )
