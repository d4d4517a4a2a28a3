"""Paths that came back, as they were before: state, LUN and share of the load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Verdict,
    load_shared_again,
    paths_restored,
)
from harness.measurements import (
    PathCounters,
    PathStates,
)
from harness.timeline import Event, Happened, Timeline
from harness.units import MIB, NS_PER_S
from suites.selftest.unit.judged import (
    READ_BACK,
    busy_host,
    carrying,
    found,
    good,
    not_sampled,
    with_counters,
)
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED


def test_a_path_that_comes_back_as_another_lun_fails() -> None:
    """It is active, and carries I/O."""
    back = replace(READ_BACK, other_luns={"a": "names 3:60 2, serial number y"})
    finding = found(paths_restored(), replace(good(), read_back=back))
    assert finding.verdict is Verdict.FAIL
    assert "another LUN than before: a now leads to names 3:60 2" in finding.message


def test_a_path_that_does_not_say_which_lun_it_is_leaves_it_open() -> None:
    back = replace(READ_BACK, silent={"a": "Input/output error"})
    finding = found(paths_restored(), replace(good(), read_back=back))
    assert finding.verdict is Verdict.UNKNOWN
    assert "did not say which LUN it leads to: a (Input/output error)" in finding.message


@pytest.mark.parametrize("last", [{"a": "failed", "b": "active"}, {"b": "active"}])
def test_a_path_that_does_not_come_back_fails(last: dict[str, str]) -> None:
    """It is still failed, or gone from the map."""
    measured = good()
    states = (*measured.path_states, PathStates(END, last))
    finding = found(paths_restored(), replace(measured, path_states=states))
    assert (finding.verdict, finding.message) == (Verdict.FAIL, "paths not active at the end: a")


@pytest.mark.parametrize("was", [{"a": "failed", "b": "active"}, {"b": "active"}])
def test_a_path_that_the_last_samples_alone_show_as_active_leaves_it_open(
    was: dict[str, str],
) -> None:
    """The map may have been loaded anew just then, and a is in reserve: it need not carry I/O."""
    measured = replace(good(), read_back=None)
    events = [e for e in measured.timeline if e.what is not Happened.PATH_REINSTATED]
    states = tuple(
        replace(
            seen,
            states=was if HEALED <= seen.at_ns < END - NS_PER_S // 8 else seen.states,
            reserve=frozenset("a"),
        )
        for seen in measured.path_states
    )
    new = replace(measured, path_states=states, timeline=Timeline.of(events))
    finding = found(paths_restored(), new)
    assert finding.verdict is Verdict.UNKNOWN, finding.message
    assert finding.message.startswith("active at the end, and not in the second before: a; ")
    back = Event(END - NS_PER_S // 8, Happened.PATH_REINSTATED, "kernel", "a", path="a")
    lost = replace(back, at_ns=back.at_ns + 1, what=Happened.PATH_FAILED)
    early = replace(back, at_ns=END - NS_PER_S)
    for told, verdict in (
        ([back], Verdict.PASS),
        ([back, lost], Verdict.UNKNOWN),
        ([early], Verdict.UNKNOWN),
    ):
        logged = replace(new, timeline=Timeline.of([*events, *told]))
        assert found(paths_restored(), logged).verdict is verdict
    away = replace(READ_BACK, checked={}, away={"a": "offline"})
    for read, verdict in ((READ_BACK, Verdict.PASS), (away, Verdict.UNKNOWN)):
        assert found(paths_restored(), replace(new, read_back=read)).verdict is verdict


def test_path_states_that_were_not_seen_at_the_end_leave_it_open() -> None:
    """A path that was failed when the observer died may have come back."""
    measured = good()
    seen = tuple(s for s in measured.path_states if s.at_ns < HEALED)
    assert seen[-1].states["a"] == "failed"
    finding = found(paths_restored(), replace(measured, path_states=seen))
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "no path states were sampled at the end of phase 'after'",
    )


def test_an_active_path_that_carries_nothing_fails() -> None:
    """A state is only a claim."""
    measured = with_counters(good(), "a", lambda c: carrying(c, HEALED, END, 0))
    assert found(paths_restored(), measured).verdict is Verdict.FAIL


@pytest.mark.parametrize(("part", "verdict"), [(0.1, Verdict.FAIL), (0.9, Verdict.PASS)])
def test_a_path_that_carries_less_after_healing_fails(part: float, verdict: Verdict) -> None:
    """The other path takes what it leaves, so that nothing is lost on the whole."""

    def after_healing(counters: PathCounters, factor: float) -> PathCounters:
        written = counters.bytes_written
        healed = int(np.searchsorted(counters.at_ns, HEALED))
        grown = written[healed] + factor * (written - written[healed])
        changed = np.where(counters.at_ns > HEALED, grown, written).astype(np.int64)
        return replace(counters, bytes_written=changed)

    slow, other = good().counters
    counters = (after_healing(slow, part), after_healing(other, 2 - part))
    measured = replace(good(), counters=counters)
    finding = found(load_shared_again(at_least=0.5), measured)
    assert finding.verdict is verdict
    assert ("a carries" in finding.message) == (verdict is Verdict.FAIL)
    busy = found(load_shared_again(at_least=0.5), replace(measured, processors=busy_host(0.7)))
    assert busy.verdict is (Verdict.UNKNOWN if verdict is Verdict.FAIL else verdict)


def test_a_share_that_may_be_small_by_chance_is_not_proven_to_be() -> None:
    """Few I/Os go now over one path, now over the other: a third on the average."""

    def by_turns(counters: PathCounters, turns: tuple[float, ...]) -> PathCounters:
        written = counters.bytes_written
        grown = np.diff(written, prepend=written[0]).astype(float)
        turn = (counters.at_ns - HEALED) // (NS_PER_S // 2) % len(turns)
        after = counters.at_ns > HEALED + 3 * NS_PER_S
        grown = np.where(after, 0.24 * MIB * np.array(turns)[turn], grown)
        return replace(counters, bytes_written=np.cumsum(grown).astype(np.int64))

    slow, other = good().counters
    counters = (by_turns(slow, (0.0, 0.0, 2.0)), by_turns(other, (2.0, 2.0, 0.0)))
    finding = found(load_shared_again(at_least=0.8), replace(good(), counters=counters))
    assert finding.verdict is Verdict.UNKNOWN, finding.message
    assert "the shares vary too much to tell" in finding.message


def test_a_share_that_is_not_known_is_open() -> None:
    """One path was not sampled after healing."""
    first, other = good().counters
    early = first.at_ns < HEALED
    columns = {
        name: getattr(first, name)[early] for name in ("at_ns", "bytes_read", "bytes_written")
    }
    measured = replace(good(), counters=(replace(first, **columns), other))
    assert found(load_shared_again(at_least=0.5), measured).verdict is Verdict.UNKNOWN


def test_io_that_was_cut_short_soon_after_healing_says_nothing_of_paths_coming_back() -> None:
    """They had no time to; after two minutes they had."""
    events = (e for e in good().timeline if e.what is not Happened.PATH_REINSTATED)
    measured = replace(
        good(),
        timeline=Timeline.of(events),
        cut_short="fio ended early",
        path_states=tuple(
            replace(seen, states={"a": "failed", "b": "active"}) for seen in good().path_states
        ),
    )
    (fault,) = measured.faults
    for check in (paths_restored(), load_shared_again(0.5)):
        assert found(check, measured).verdict is Verdict.UNKNOWN
        assert "cut short 8.9 s after healing" in found(check, measured).message
    long_ago = replace(fault, healing_confirmed_ns=END - 120 * NS_PER_S)
    late = replace(measured, faults=(long_ago,))
    assert found(paths_restored(), late).verdict is Verdict.FAIL
    polled = Budget((BudgetTerm("max_polling_interval", 240, "multipathd"),))
    patient = replace(measured, faults=(replace(long_ago, returning=polled),))
    assert found(paths_restored(), patient).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("back", "message"),
    [
        ({"a": "failed", "b": "active"}, "paths not active at the end: a"),
        ({"a": "active", "b": "active"}, "another LUN than before: a now leads to lun 2"),
    ],
)
def test_what_is_seen_at_the_end_needs_no_samples_before(
    back: dict[str, str], message: str
) -> None:
    """A gap of three seconds hides nothing of the last sample, nor of the read-back."""
    measured = good()
    states = (*measured.path_states, PathStates(END, back))
    others = replace(READ_BACK, other_luns={"a": "lun 2"} if back["a"] == "active" else {})
    flawed = replace(measured, path_states=states, read_back=others)
    gap = not_sampled(flawed, INJECTED, INJECTED + 3 * NS_PER_S)
    finding = found(paths_restored(), gap)
    assert (finding.verdict, finding.message) == (Verdict.FAIL, message)


def test_whether_an_idle_path_was_in_reserve_needs_all_samples() -> None:
    measured = with_counters(good(), "a", lambda c: carrying(c, HEALED, END, 0))
    finding = found(paths_restored(), not_sampled(measured, HEALED, HEALED + 3 * NS_PER_S))
    assert finding.verdict is Verdict.UNKNOWN
    assert "but no sample of the initiator for 3." in finding.message
