"""What is told of sessions and of their wires, and which looks at sessions belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.checks import Verdict, sessions_as_planned
from harness.measurements import LinkTraffic, Measurements
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.units import MIB, format_size
from suites.selftest.unit.judged import found, good


def test_each_session_is_told_with_the_link_that_it_runs_through() -> None:
    first, second = good().settings
    finding = found(
        sessions_as_planned(), replace(good(), settings=(first, replace(second, through="")))
    )
    assert finding.figures["session of path a"] == f"through a, {first.text}"
    assert finding.figures["session of path b"] == f"through none of the links, {second.text}"


@pytest.mark.parametrize("kept", [0, 1])
def test_a_path_that_carried_io_has_a_plan_of_its_session(kept: int) -> None:
    """Else nobody compares its session with anything."""
    one = good().planned[kept]
    finding = found(sessions_as_planned(), replace(good(), planned=(one,)))
    other = {"a": "b", "b": "a"}[one.path]
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        f"it is not known which session was planned for path {other}",
    )


def sampled(count: int) -> Measurements:
    """With so many samples of each NIC, the last one among them."""

    def fewer(one: LinkTraffic) -> LinkTraffic:
        kept = [0, -1][-count:]
        return replace(one, at_ns=one.at_ns[kept], sent=one.sent[kept], received=one.received[kept])

    return replace(good(), traffic=tuple(map(fewer, good().traffic)))


@pytest.mark.parametrize(("count", "known"), [(1, False), (2, True)])
def test_what_a_nic_carried_is_known_by_two_samples(count: int, known: bool) -> None:
    finding = found(sessions_as_planned(), sampled(count))
    assert finding.verdict is (Verdict.PASS if known else Verdict.UNKNOWN)
    for link in ("a", "b"):
        assert (f"link {link}" in finding.figures) is known
        assert (f"the NIC of link {link} carried was not sampled" in finding.message) is not known


def test_a_nic_is_told_with_what_it_carried_from_the_first_sample_to_the_last() -> None:
    measured = good()
    one, other = measured.traffic
    jumps = np.full_like(one.sent, 30 * MIB)
    jumps[0], jumps[-1] = 10 * MIB, 80 * MIB
    more = replace(one, sent=one.sent + jumps, received=2 * jumps)
    finding = found(sessions_as_planned(), replace(measured, traffic=(more, other)))
    sent = 70 * MIB + int(one.sent[-1] - one.sent[0])
    assert finding.figures["link a"] == (
        f"NIC nic-a sent {format_size(sent)} and received {format_size(140 * MIB)}"
    )


def test_timeouts_of_one_session_are_no_change_of_another() -> None:
    """Each path may have timeouts of its own."""
    settings = (session_settings("a", 1, 1, 1, "a"), session_settings("b", 2, 2, 2, "b"))
    planned = (
        planned_session("a", 1, 1, 1, through="a"),
        planned_session("b", 2, 2, 2, through="b"),
    )
    measured = replace(good(), settings=settings, settings_after=settings, planned=planned)
    finding = found(sessions_as_planned(), measured)
    assert finding.verdict is Verdict.PASS, finding.message
    changed = (settings[0], session_settings("b", 2, 2, 3, "b"))
    finding = found(sessions_as_planned(), replace(measured, settings_after=changed))
    assert "no budget holds for the whole test: " in finding.message
    assert "path a" not in finding.message
