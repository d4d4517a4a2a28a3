"""Filters of a portal's packets: the rules, and what nft counts."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.errors import TimedOut
from harness.faults import (
    AnswersDropped,
    Lab,
    LargeFramesLost,
    Rejected,
    RequestsDropped,
    Reset,
    SilentDrop,
    portal_filter,
)
from harness.faults.portal_filter import parse_counted, render_rules
from harness.topology import Portal, Role, plan
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
PORTAL = Portal(IPv4Address("172.16.0.1"))


def test_both_directions_of_the_portal_are_dropped() -> None:
    """Before any other rule sees a packet, and nothing but this portal."""
    rules = render_rules("pathproof_drop_a", PORTAL, Role.TARGET).splitlines()
    assert [line for line in rules if "drop" in line.split()] == [
        "add rule inet pathproof_drop_a inbound ip daddr 172.16.0.1 tcp dport 3260 counter drop",
        "add rule inet pathproof_drop_a outbound ip saddr 172.16.0.1 tcp sport 3260 counter drop",
    ]
    assert all("priority -300" in line for line in rules if "hook" in line)


def test_the_initiator_drops_the_same_packets_at_its_end() -> None:
    """What goes out to the portal, and what comes in from it."""
    rules = render_rules("pathproof_drop_a", PORTAL, Role.INITIATOR).splitlines()
    assert [line for line in rules if "drop" in line.split()] == [
        "add rule inet pathproof_drop_a inbound ip saddr 172.16.0.1 tcp sport 3260 counter drop",
        "add rule inet pathproof_drop_a outbound ip daddr 172.16.0.1 tcp dport 3260 counter drop",
    ]


def test_only_rules_of_the_fault_are_changed_and_nothing_is_flushed() -> None:
    """Every command adds to the fault's own table."""
    for line in render_rules("pathproof_drop_a", PORTAL, Role.INITIATOR).splitlines():
        assert line.startswith("add ")
        assert " inet pathproof_drop_a" in line


def test_each_portal_has_a_table_of_its_own() -> None:
    """So two drops at once heal apart; nft allows no dash in a name."""
    assert SilentDrop("a").table != SilentDrop("b").table
    assert SilentDrop("my-net").table == "pathproof_drop_my_net"


def test_a_recorded_listing_is_counted() -> None:
    """One packet was dropped, in one direction."""
    assert parse_counted((RECORDED / "nft-1.0.6-list-table.txt").read_text()) == 1


def test_what_is_rejected_is_counted_as_well() -> None:
    """nft leaves out what is the default: "with icmpx type port-unreachable"."""
    assert parse_counted((RECORDED / "nft-1.0.6-list-table-reject.txt").read_text()) == 12


def test_no_table_has_dropped_nothing() -> None:
    """nft prints nothing then, and complains elsewhere."""
    assert parse_counted("") == 0


@given(st.lists(st.integers(0, 10**9), max_size=6))
def test_the_packets_of_all_rules_add_up(counts: list[int]) -> None:
    """Bytes do not count."""
    listing = "\n".join(f"counter packets {n} bytes {n * 52} drop" for n in counts)
    assert parse_counted(listing) == sum(counts)


def test_the_fault_says_where_it_acts() -> None:
    """In its name the portal, in its description the guest."""
    assert SilentDrop("b").name == "SilentDrop(b)"
    assert "in its guest" in SilentDrop("b").description
    assert SilentDrop("b").hits(plan(Config())) == ("b",)


def test_a_direction_without_a_statement_has_no_rule() -> None:
    for role in Role:
        rules = render_rules("t", PORTAL, role, answers="").splitlines()
        (rule,) = (line for line in rules if "add rule" in line)
        assert "ip daddr 172.16.0.1 tcp dport 3260 counter drop" in rule
        assert ("inbound" in rule) is (role is Role.TARGET)


def test_large_packets_are_dropped_both_ways_and_small_ones_pass() -> None:
    """A NOP-Out and a login are small, a full segment is large on any Ethernet."""
    rules = render_rules(
        "t",
        PORTAL,
        Role.TARGET,
        requests=LargeFramesLost.requests,
        answers=LargeFramesLost.answers,
    )
    large = "meta length > 1000 counter drop"
    assert [line for line in rules.splitlines() if "add rule" in line] == [
        f"add rule inet t inbound ip daddr 172.16.0.1 tcp dport 3260 {large}",
        f"add rule inet t outbound ip saddr 172.16.0.1 tcp sport 3260 {large}",
    ]


@pytest.mark.parametrize(
    ("kind", "listing", "in_force"),
    [
        (SilentDrop, "nft-1.0.6-list-table.txt", True),
        (SilentDrop, "", False),
        (Reset, "", False),
        (LargeFramesLost, "", True),
        (LargeFramesLost, None, False),
    ],
)
def test_a_filter_is_confirmed_by_what_it_has_to_meet(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[SilentDrop | Reset | LargeFramesLost],
    listing: str | None,
    in_force: bool,
) -> None:
    """A path that goes on may send nothing large; without its table nothing is filtered."""
    monkeypatch.setattr(portal_filter, "CONFIRM_TIMEOUT_S", 0)
    told = (RECORDED / listing).read_text() if listing else ""
    machine = ScriptedMachine(lambda _: Answer(told, status=1 if listing is None else 0))
    lab = cast(Lab, SimpleNamespace(topology=plan(Config()), machine=lambda _: machine))
    if in_force:
        kind("a").confirm(lab)
    else:
        with pytest.raises(TimedOut):
            kind("a").confirm(lab)


REQUESTS = "inbound ip daddr 172.16.0.1 tcp dport 3260 counter"
ANSWERS = "outbound ip saddr 172.16.0.1 tcp sport 3260 counter"


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (RequestsDropped, f"{REQUESTS} drop"),
        (AnswersDropped, f"{ANSWERS} drop"),
        (Reset, f"{REQUESTS} reject with tcp reset"),
        (Rejected, f"{REQUESTS} reject with icmpx type port-unreachable"),
    ],
)
def test_one_direction_is_lost_or_answered(
    kind: type[RequestsDropped | AnswersDropped | Reset | Rejected], rule: str
) -> None:
    """By the target, with a single rule that counts; the other direction passes."""
    machine = ScriptedMachine()
    lab = SimpleNamespace(topology=plan(Config()), machine=lambda _: machine)
    kind("a").inject(cast(Lab, lab))
    (call,) = machine.asked
    rules = [line for line in call.stdin.decode().splitlines() if line.startswith("add rule ")]
    assert rules == [f"add rule inet pathproof_drop_a {rule}"]
    assert kind("a").hits(plan(Config())) == ("a",)
