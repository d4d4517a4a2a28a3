"""Each path has a wire of its own: what its disk carried went over the NIC of its link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.wires import other_wires, untold
from harness.checks import Verdict, sessions_as_planned
from harness.measurements import LinkTraffic, Measurements, PathCounters
from harness.timeline import Happened, Timeline
from harness.units import KIB, MIB, NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START

AFTER = HEALED + 2 * NS_PER_S


def with_traffic(link: str, change: Callable[[LinkTraffic], LinkTraffic]) -> Measurements:
    measured = good()
    traffic = tuple(change(one) if one.link == link else one for one in measured.traffic)
    return replace(measured, traffic=traffic)


def quiet(start_ns: int, end_ns: int) -> Callable[[LinkTraffic], LinkTraffic]:
    """The NIC carried nothing in a stretch of time."""

    def change(one: LinkTraffic) -> LinkTraffic:
        grown = np.diff(one.sent, prepend=0)
        grown[(one.at_ns >= start_ns) & (one.at_ns <= end_ns)] = 0
        return replace(one, sent=np.cumsum(grown))

    return change


def test_each_nic_carries_what_its_paths_carry() -> None:
    finding = found(sessions_as_planned(), good())
    assert finding.verdict is Verdict.PASS
    assert finding.figures["link a"].startswith("NIC nic-a sent ")


@pytest.mark.parametrize(("link", "other"), [("a", "b"), ("b", "a")])
def test_two_sessions_over_one_wire_fail(link: str, other: str) -> None:
    """Their addresses are right, all the time."""
    shared = with_traffic(link, quiet(START, 2 * HEALED))
    finding = found(sessions_as_planned(), shared)
    assert finding.verdict is Verdict.FAIL
    assert f"but NIC nic-{link} of link {link} sent only 0 B: the packets took" in finding.message
    assert f"nic-{other}" not in finding.message


def test_another_wire_for_five_seconds_is_enough() -> None:
    """It was right before, and is right again."""
    (elsewhere,) = other_wires(with_traffic("b", quiet(START, START + 5 * NS_PER_S)))
    assert elsewhere.seconds == 4
    assert elsewhere.by_nic == 0
    assert elsewhere.by_paths > 4 * MIB


def test_reads_that_come_another_way_are_told_as_such() -> None:
    """Only the answers take the other wire: the target's route leads astray."""
    measured = good()
    counters = tuple(
        replace(one, bytes_read=one.bytes_written, bytes_written=one.bytes_read)
        for one in measured.counters
    )
    (a, b) = other_wires(replace(measured, counters=counters))
    assert str(a).startswith("path a read ")
    assert "NIC nic-a of link a received only 0 B" in str(a)
    assert b.way == "received"


def test_what_fails_on_a_dead_path_proves_nothing() -> None:
    """The block layer counts it as carried."""
    dead = with_counters(good(), "a", lambda c: carrying(c, INJECTED, HEALED, 8 * MIB))
    assert list(other_wires(dead)) == []


def test_what_fails_on_a_path_that_is_lost_without_a_fault_proves_nothing() -> None:
    """Other checks tell of that loss."""
    (event,) = [e for e in good().timeline if e.what is Happened.PATH_FAILED]
    lost = replace(event, at_ns=AFTER, path="b")
    quiet_then = with_traffic("b", quiet(AFTER - NS_PER_S, AFTER + NS_PER_S))
    measured = replace(quiet_then, timeline=Timeline.of([*quiet_then.timeline, lost]))
    assert list(other_wires(measured)) == []
    assert list(other_wires(with_traffic("b", quiet(AFTER - 2 * NS_PER_S, END)))) != []


def test_few_bytes_a_window_prove_it_over_several() -> None:
    """As with many LUNs: 40 KiB in 2 s."""

    def thin(counters: PathCounters) -> PathCounters:
        seconds = (counters.at_ns - counters.at_ns[0]) / NS_PER_S
        return replace(counters, bytes_written=(seconds * 20 * KIB).astype(np.int64))

    measured = with_counters(with_traffic("b", quiet(START, 2 * HEALED)), "b", thin)
    (elsewhere,) = other_wires(measured)
    assert elsewhere.seconds >= 8
    assert untold(measured) == []


def test_what_the_nic_shows_in_the_next_sample_went_its_way() -> None:
    """In a sample the disks are looked at some time after the NICs."""

    def thin(counters: PathCounters) -> PathCounters:
        return replace(counters, bytes_written=burst(counters.at_ns, edge_ns))

    edge_ns = START + 4 * NS_PER_S
    measured = with_counters(good(), "b", thin)
    for later_s, count in ((0.3, 0), (1.5, 1)):
        nic_ns = edge_ns + int(later_s * NS_PER_S)
        traffic = tuple(
            replace(one, sent=burst(one.at_ns, nic_ns)) if one.link == "b" else one
            for one in measured.traffic
        )
        assert len(list(other_wires(replace(measured, traffic=traffic)))) == count


def burst(at_ns: np.ndarray, since_ns: int) -> np.ndarray:
    """20 KiB a second, and 4 MiB at once."""
    steady = ((at_ns - at_ns[0]) / NS_PER_S * 20 * KIB).astype(np.int64)
    return np.asarray(steady + np.where(at_ns >= since_ns, 4 * MIB, 0))


def test_a_link_that_carried_too_little_is_told() -> None:
    few = with_counters(good(), "b", lambda c: replace(c, bytes_written=c.bytes_written // 1000))
    assert untold(few) == ["b"]
    finding = found(sessions_as_planned(), few)
    assert finding.figures["wire of link b"] == "too few bytes to prove it"


def test_a_few_bytes_prove_nothing() -> None:
    """They may have waited in a buffer."""
    few = with_counters(good(), "b", lambda c: carrying(c, START, AFTER, MIB // 10))
    traffic = tuple(quiet(START, AFTER)(one) for one in few.traffic if one.link == "b")
    assert list(other_wires(replace(few, traffic=traffic))) == []


def test_a_count_that_begins_anew_proves_nothing() -> None:
    """The NIC was taken away and is back."""

    def anew(one: LinkTraffic) -> LinkTraffic:
        since = int(np.searchsorted(one.at_ns, AFTER))
        sent = one.sent.copy()
        sent[since:] -= sent[since]
        return replace(one, sent=sent)

    assert list(other_wires(with_traffic("b", anew))) == []


def test_a_nic_that_was_not_sampled_leaves_it_open() -> None:
    measured = good()
    unseen = replace(measured, traffic=tuple(t for t in measured.traffic if t.link == "a"))
    finding = found(sessions_as_planned(), unseen)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "what the NIC of link b carried was not sampled"
