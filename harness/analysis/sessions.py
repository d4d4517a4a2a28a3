"""Whether the initiator is logged in as it was meant to be; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.negotiation import differing_values, redirections, unknown_values
from harness.errors import Problem
from harness.measurements import LOGGED_IN, PlannedSession, SessionSettings

_CURES = {
    "noop_out_interval_s": "node.conn[0].timeo.noop_out_interval in the node record, then log in",
    "noop_out_timeout_s": "node.conn[0].timeo.noop_out_timeout in the node record, then log in",
    "recovery_tmo_s": (
        "fast_io_fail_tmo in multipath.conf: a later section (overrides) or a file in conf.d may "
        "set another one"
    ),
}


def login_problems(
    planned: Sequence[PlannedSession], sessions: Sequence[SessionSettings]
) -> Iterator[Problem]:
    """What differs from the plan, and what of it is not known."""
    yield from login_differences(planned, sessions)
    yield from unknown_logins(planned, sessions)


def login_differences(
    planned: Sequence[PlannedSession], sessions: Sequence[SessionSettings]
) -> Iterator[Problem]:
    """What differs from the plan: the number of sessions, their ways, logins and timeouts."""
    for plan in planned:
        yield from _differences(plan, [one for one in sessions if one.path == plan.path])


def unknown_logins(
    planned: Sequence[PlannedSession], sessions: Sequence[SessionSettings]
) -> Iterator[Problem]:
    """Why it is not known of some session whether it is as planned."""
    for plan in planned:
        for session in sessions:
            if session.path != plan.path:
                continue
            if session.state != LOGGED_IN and not plan.negotiated:
                yield Problem(
                    f"the session of path {plan.path} is not logged in (its state is "
                    f"{session.state}), so its way is unknown",
                    "does the portal answer? `iscsiadm -m session -P 1` shows the session's state",
                )
            yield from unknown_values(plan, session)


def shown(setting: str, seconds: int) -> str:
    """A timeout for people: NOP-Outs are off at 0, recovery is only where it never ends."""
    off = seconds < 0 or (seconds == 0 and setting != "recovery_tmo")
    return "off" if off else f"{seconds} s"


def _differences(planned: PlannedSession, found: Sequence[SessionSettings]) -> Iterator[Problem]:
    if len(found) != 1:
        yield Problem(
            f"path {planned.path} has {len(found)} sessions instead of one",
            "log out of those that are too many: `iscsiadm -m session`"
            if found
            else "does the portal answer, and does the target admit this initiator?",
        )
    for session in found:
        if session.state == LOGGED_IN and session.through != planned.through:
            end = f"link {session.through}" if session.through else "none of the links"
            yield Problem(
                f"the session of path {planned.path} runs through {end} instead of link "
                f"{planned.through}",
                "`ip route get` to the portal must name the NIC of its own network, with the "
                "address that networks.N.initiator has",
            )
        yield from redirections(planned, session)
        yield from differing_values(planned, session)
        for setting, cure in _CURES.items():
            wanted, is_now = getattr(planned, setting), getattr(session, setting)
            if wanted is not None and is_now != wanted:
                name = setting.removesuffix("_s")
                yield Problem(
                    f"{name} of the session of path {planned.path} is "
                    f"{shown(name, is_now)} instead of {wanted} s",
                    cure,
                )
