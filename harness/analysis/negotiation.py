"""Whether each session's login came to what was asked for; pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import Problem
from harness.measurements import LOGGED_IN, PlannedSession, SessionSettings

_CURE = (
    "both ends decide it: [initiator.iscsi] is what open-iscsi offers (node.conn[0].iscsi and "
    "node.session.iscsi in its records, read at login), and the target has to agree"
)


def differing_values(planned: PlannedSession, session: SessionSettings) -> Iterator[Problem]:
    """Values that were asked for and are not in force, of a session that is logged in.

    The kernel keeps some values of a connection that is lost, and clears others.
    """
    if session.state != LOGGED_IN or not session.connected_to:
        return
    for key, wanted in _comparable(planned, session):
        if (has := session.negotiated.get(key, wanted)) != wanted:
            yield Problem(
                f"{key} of the session of path {planned.path} is {has} instead of {wanted}",
                _CURE,
            )


def unknown_values(planned: PlannedSession, session: SessionSettings) -> Iterator[Problem]:
    """Why it is not known whether values that were asked for are in force."""
    if not planned.negotiated:
        return
    if session.state != LOGGED_IN or not session.connected_to:
        yield Problem(
            f"the session of path {planned.path} has no connection that is logged in (its "
            f"state is {session.state}), so what it negotiated is unknown",
            "does the portal answer? `iscsiadm -m session -P 1` shows the connection's state",
        )
        return
    for key, wanted in _comparable(planned, session):
        if key not in session.negotiated:
            yield Problem(
                f"{key} of the session of path {planned.path} should be {wanted}, but its "
                "driver does not show it",
                "leave that key out of [initiator.iscsi] and [target.iet], or use iscsi_tcp",
            )


def _comparable(planned: PlannedSession, session: SessionSettings) -> Iterator[tuple[str, str]]:
    """What was asked for and can be in force.

    FirstBurstLength is passed over where nothing may be sent unasked: it is not negotiated then
    (RFC 7143 section 13.14).
    """
    found = session.negotiated
    unasked_is_off = (found.get("InitialR2T"), found.get("ImmediateData")) == ("Yes", "No")
    for key, wanted in planned.negotiated.items():
        if not (key == "FirstBurstLength" and unasked_is_off):
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
