"""The budget of each kind of fault, term by term, from the settings in force."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.budget import Budget, BudgetTerm, Effect, Setting
from harness.config import Config
from harness.config.callouts import CalloutConfig
from harness.errors import FaultError
from harness.faults import (
    Callout,
    Fault,
    Injection,
    LargeFramesLost,
    LinkDown,
    LinkFlaps,
    PacketLoss,
    PeerLinkDown,
    Rejected,
    Reset,
    SilentDrop,
    Together,
)
from harness.measurements import FaultRecord, SessionSettings
from harness.topology import Topology, plan
from harness.transport.allowances import InForce
from harness.transport.base import Allowances
from harness.transport.iscsi.settings import session_settings
from harness.units import NS_PER_S

SESSIONS = (session_settings("a", 1, 2, 3), session_settings("b", 5, 5, 120))
ALLOWANCES = InForce(
    login_timeout=Setting("login_timeout", 3, "node record of 172.16.0.1:3260"),
    polling=Setting("polling_interval", 1, "multipathd 0.9.4: show config"),
)


def topology(names: str) -> Topology:
    """With a path over a network of its own for each of these names."""
    networks = [
        {
            "name": name,
            "subnet": f"172.16.{number}.0/24",
            "portals": [f"172.16.{number}.1"],
            "initiator": f"172.16.{number}.101",
        }
        for number, name in enumerate(names)
    ]
    return plan(Config.model_validate({"networks": networks}))


def injection(fault: Fault, paths: str = "ab") -> Injection:
    """Healed, with confirmation, after 8 s."""
    over = (NS_PER_S, 2 * NS_PER_S, 8 * NS_PER_S, 9 * NS_PER_S)
    return Injection(fault, topology(paths), *over)


def record(fault: Fault) -> FaultRecord:
    return injection(fault).record(SESSIONS, 1.0, ALLOWANCES)


def terms(fault: Fault) -> dict[str, float]:
    return {term.name: term.seconds for term in record(fault).budget.terms}


def test_a_record_says_what_the_initiator_notices() -> None:
    """Without a carrier nobody answers for the portal's address, either."""
    assert record(SilentDrop("a")).effects == (Effect.SILENT,)
    assert record(PeerLinkDown("a")).effects == (Effect.UNREACHABLE,)
    both = Together((LinkDown("a"), SilentDrop("b")))
    assert record(both).effects == (Effect.SILENT, Effect.UNREACHABLE)


def test_a_record_says_whether_any_means_can_be_seen() -> None:
    """A callout has the budget of its effect, and nothing to look at but its paths."""
    own = CalloutConfig(name="port", links=("a",), inject=("false",), heal=("false",))
    told = record(Callout(own))
    assert (told.effects, told.means_hidden) == ((Effect.UNREACHABLE,), True)
    assert told.budget.seconds == record(PeerLinkDown("a")).budget.seconds
    assert not record(PeerLinkDown("a")).means_hidden


@pytest.mark.parametrize("kind", [LinkDown, PeerLinkDown, SilentDrop])
def test_a_silent_loss_costs_detection_and_recovery(kind: type[LinkDown]) -> None:
    """Of the session that it hits."""
    expected = {
        "noop_out_interval": 1.0,
        "noop_out_timeout": 2.0,
        "recovery_tmo": 3.0,
        "slack": 1.0,
    }
    assert terms(kind("a")) == expected
    assert record(kind("b")).budget.seconds == 131


def test_with_no_path_left_healing_is_waited_for() -> None:
    """Then for a login, and for multipathd to look."""
    everything = Together((SilentDrop("a"), SilentDrop("b")))
    assert record(everything).io_stops
    assert terms(everything) == {
        "outage": 8.0,
        "login_timeout": 3.0,
        "polling_interval": 1.0,
        "checker tick": 1.0,
        "slack": 1.0,
    }


@dataclass(frozen=True)
class Known(LinkDown):
    """As if the initiator knew at once that the connection is gone."""

    def detection_terms(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        return super().detection_terms(session, allowances)[-1:]


def test_a_budget_is_the_faults_own() -> None:
    """There is none for a fault that does not say what the initiator notices of it."""
    assert "effects" in Fault.__abstractmethods__
    assert terms(Known("a")) == {"recovery_tmo": 3.0, "slack": 1.0}


def test_several_at_once_have_the_longest_of_their_budgets() -> None:
    """Of three paths two are lost, and each session may take as long as what hits it."""
    one_left = (*SESSIONS, session_settings("c", 1, 1, 1))
    for faults, seconds in (
        ((Known("a"), SilentDrop("b")), 131),
        ((SilentDrop("a"), Known("b")), 121),
        ((SilentDrop("a"), Known("a")), 7),
    ):
        told = injection(Together(faults), "abc").record(one_left, 1.0, ALLOWANCES)
        assert told.budget.seconds == seconds


def test_where_no_machine_answers_arp_open_iscsi_pauses() -> None:
    """One such part is enough: the slowest counts."""
    for one in (LinkDown("a"), PeerLinkDown("a")):
        assert terms(Together((one, SilentDrop("b"))))["reopen delay"] == 3


@pytest.mark.parametrize("fault", [LinkDown("a"), Together((LinkDown("a"), SilentDrop("b")))])
def test_every_term_says_where_it_was_read_and_why(fault: Fault) -> None:
    """And which layer may take that time, so that one can be blamed."""
    for term in record(fault).budget.terms:
        assert term.source
        assert term.why
        assert term.layers


def test_a_fault_that_hits_no_session_has_no_budget() -> None:
    """It would be tested for nothing."""
    with pytest.raises(FaultError, match="hits no session"):
        injection(LinkDown("c"), "abc").record(SESSIONS, 1.0, ALLOWANCES)


def unlimited(settings: tuple[SessionSettings, ...], fault: Fault) -> tuple[BudgetTerm, ...]:
    paths = "".join(one.path for one in settings)
    return injection(fault, paths).record(settings, 1.0, ALLOWANCES).budget.unlimited


@pytest.mark.parametrize(
    ("session", "off", "cure"),
    [
        (session_settings("a", 0, 0, 5), ["noop_out_interval", "noop_out_timeout"], "node record"),
        (session_settings("a", 5, 5, -1), ["recovery_tmo"], "fast_io_fail_tmo"),
    ],
)
def test_what_is_off_has_no_limit_but_a_cure(
    session: SessionSettings, off: list[str], cure: str
) -> None:
    """Without NOP-Outs nothing finds a silent connection dead; -1 is "off" in sysfs."""
    terms = unlimited((session, SESSIONS[1]), LinkDown("a"))
    assert [term.name for term in terms] == off
    assert all(cure in term.cure for term in terms)
    assert Budget(terms).seconds == float("inf")
    assert str(Budget(terms)).startswith(f"no limit ({off[0]} off")


def test_a_recovery_of_zero_seconds_is_a_limit() -> None:
    """The session's I/O fails as soon as its connection does."""
    assert unlimited((session_settings("a", 5, 5, 0), SESSIONS[1]), LinkDown("a")) == ()


def test_a_session_without_a_limit_is_the_slowest() -> None:
    """Of two that are hit, one of three paths being left."""
    sessions = (session_settings("a", 1, 1, -1), *SESSIONS[1:], session_settings("c", 1, 1, 1))
    both = Together((SilentDrop("a"), SilentDrop("b")))
    assert [term.name for term in unlimited(sessions, both)] == ["recovery_tmo"]


def test_with_no_path_left_only_recovery_may_be_off() -> None:
    """It logs in again anyway; but a connection that is not found dead stays as it is."""
    both = Together((SilentDrop("a"), SilentDrop("b")))
    patient = tuple(session_settings(path, 1, 1, -1) for path in "ab")
    assert unlimited(patient, both) == ()
    deaf = tuple(session_settings(path, 0, 0, 1) for path in "ab")
    names = [term.name for term in unlimited(deaf, both)]
    assert names == ["noop_out_interval", "noop_out_timeout"]


@pytest.mark.parametrize("fault", [LinkDown("a"), Together((SilentDrop("a"), SilentDrop("b")))])
def test_the_way_back_has_a_budget_whether_a_path_is_left_or_not(fault: Fault) -> None:
    """Without the outage, and with the pause where no machine answered ARP."""
    returning = {term.name: term.seconds for term in record(fault).returning.terms}
    pause = {"reopen delay": 3.0} if isinstance(fault, LinkDown) else {}
    way = {"login_timeout": 3.0, "polling_interval": 1.0, "checker tick": 1.0, "slack": 1.0}
    assert returning == pause | way


@pytest.mark.parametrize("kind", [LinkFlaps, LargeFramesLost])
def test_io_on_a_path_that_comes_and_goes_may_be_sent_over_it_again(
    kind: type[LinkFlaps | LargeFramesLost],
) -> None:
    """The kernel does so five times, each of which may take as long as the first."""
    assert terms(kind("a")) == {
        "noop_out_interval": 1.0,
        "noop_out_timeout": 2.0,
        "recovery_tmo": 3.0,
        "retries": 30.0,
        "slack": 1.0,
    }
    assert record(kind("a")).effects == (Effect.INTERRUPTED,)
    assert "reopen delay" in {term.name for term in record(kind("a")).returning.terms}
    for term in record(kind("a")).budget.terms:
        assert term.why
        assert term.source


def test_without_a_limit_retries_add_nothing() -> None:
    """And what is off is named, once."""
    session = session_settings("a", 0, 0, 5)
    off = unlimited((session, SESSIONS[1]), LinkFlaps("a"))
    assert [term.name for term in off] == ["noop_out_interval", "noop_out_timeout"]


def test_a_path_that_may_go_on_is_not_lost() -> None:
    """So some path is left, whatever else is; but one that is lost as well is lost."""
    told = record(Together((LinkFlaps("a"), SilentDrop("b"))))
    assert (told.paths, told.limping, told.io_stops) == (("a", "b"), ("a",), False)
    told = record(Together((LinkFlaps("a"), SilentDrop("a"), SilentDrop("b"))))
    assert (told.limping, told.io_stops) == ((), True)
    assert record(LinkDown("a")).limping == ()


def test_a_reset_ends_a_connection_at_once() -> None:
    """Nobody has to be missed first; only recovery takes its time."""
    assert terms(Reset("a")) == {"reset": 0.0, "recovery_tmo": 3.0, "slack": 1.0}
    assert record(Reset("a")).effects == (Effect.REFUSED,)
    assert record(Reset("a")).limping == ()


def test_a_reset_is_noticed_without_nop_outs() -> None:
    """And so it is with no path left."""
    deaf = (session_settings("a", 0, 0, 5), session_settings("b", 0, 0, 5))
    assert unlimited(deaf, Reset("a")) == ()
    assert unlimited(deaf, Together((Reset("a"), Reset("b")))) == ()


def test_who_is_refused_tries_again_after_a_pause() -> None:
    """No attempt has to run out; each end of it is noticed once a second."""
    returning = {term.name: term.seconds for term in record(Reset("a")).returning.terms}
    assert returning == {
        "reopen delay": 3.0,
        "connection polls": 2.0,
        "polling_interval": 1.0,
        "checker tick": 1.0,
        "slack": 1.0,
    }
    for term in (*record(Reset("a")).returning.terms, *record(Reset("a")).budget.terms):
        assert term.source
        assert term.why
        assert term.layers


def test_a_connection_that_icmp_rejects_is_lost_in_silence() -> None:
    """An attempt to make another one ends at once."""
    assert terms(Rejected("a")) == terms(LinkDown("a"))
    assert record(Rejected("a")).returning == record(LinkDown("a")).returning


def test_a_poor_path_may_be_lost_once() -> None:
    """As in silence; and it may go on."""
    told = record(PacketLoss("a"))
    assert terms(PacketLoss("a")) == terms(LinkDown("a"))
    assert (told.limping, told.effects, told.links) == (("a",), (Effect.DEGRADED,), ("a",))
