"""Whether each session came to what was asked for when it was made; pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.advice import NO_ADVICE, Advice
from harness.errors import Problem
from harness.measurements import PlannedSession, SessionSettings


def differing_values(
    planned: PlannedSession, session: SessionSettings, advice: Advice = NO_ADVICE
) -> Iterator[Problem]:
    """Values that were asked for and are not in force, of a session that is up.

    The kernel keeps some values of a connection that is lost, and clears others.
    """
    if not session.is_up or not session.connected_to:
        return
    for key, wanted in _comparable(planned, session):
        if (has := session.negotiated.get(key, wanted)) != wanted:
            yield Problem(
                f"{key} of the session of path {planned.path} is {has} instead of {wanted}",
                advice.differing,
            )


def unknown_values(
    planned: PlannedSession, session: SessionSettings, advice: Advice = NO_ADVICE
) -> Iterator[Problem]:
    """Why it is not known whether values that were asked for are in force."""
    if not planned.negotiated:
        return
    if not session.is_up or not session.connected_to:
        yield Problem(
            f"the session of path {planned.path} has no connection that is logged in (its "
            f"state is {session.state}), so what it negotiated is unknown",
            advice.not_connected,
        )
        return
    for key, wanted in _comparable(planned, session):
        if key not in session.negotiated:
            yield Problem(
                f"{key} of the session of path {planned.path} should be {wanted}, but its "
                "driver does not show it",
                advice.not_shown,
            )


def _comparable(planned: PlannedSession, session: SessionSettings) -> Iterator[tuple[str, str]]:
    """What was asked for and can be in force."""
    for key, wanted in planned.negotiated.items():
        if key not in session.unsettled:
            yield key, wanted


def redirections(planned: PlannedSession, session: SessionSettings) -> Iterator[Problem]:
    """A connection that is elsewhere than the portal that was logged in to.

    Faults act on the portal that the configuration names: they would miss it. Nothing is said of a
    session that has no connection at the moment.
    """
    if planned.portal and session.connected_to not in {"", planned.portal}:
        yield Problem(
            f"the login to {planned.portal} of path {planned.path} was redirected to "
            f"{session.connected_to}: what breaks the path would miss that connection",
            "switch redirection (load balancing of logins) off on the target, or name that portal "
            "in networks.N.portals, on a network of its own",
        )
