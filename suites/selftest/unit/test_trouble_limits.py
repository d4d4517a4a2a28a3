"""Signs of trouble at the edges of what is judged and of what a fault explains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.reserve_changes import swaps
from harness.checks import Verdict
from harness.checks.path_loss import caused
from harness.measurements import Measurements, UnplannedDisk
from harness.timeline import Event, Happened, Timeline
from harness.transport.iscsi.settings import session_settings
from harness.units import NS_PER_S
from suites.selftest.unit.judged import busy_host, found, good
from suites.selftest.unit.synthetic_failover import (
    END,
    HEALED,
    INJECTED,
    START,
    UNCERTAINTY_NS,
)
from suites.selftest.unit.test_reserve_changes import undisturbed, using
from suites.selftest.unit.test_trouble import CHECK, ERROR, LINE, moved, with_event, with_line


def with_events(*at_ns: int, path: str = "b") -> Measurements:
    """Connections of that path that drop then."""
    events = (
        Event(at, Happened.CONNECTION_ERROR, "initiator kernel", LINE, path=path) for at in at_ns
    )
    return replace(good(), timeline=Timeline.of([*good().timeline, *events]))


@pytest.mark.parametrize("missing", ["kernel_logs", "counters"])
def test_without_a_log_or_paths_nothing_is_known(missing: str) -> None:
    blind = replace(good(), **{missing: ()})  # type: ignore[arg-type]  # both are tuples
    finding = found(CHECK, blind)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "no kernel log was followed, or no path is known"


def test_peace_needs_samples_that_show_which_paths_were_in_use() -> None:
    unseen = tuple(replace(look, reserve=None) for look in good().path_states)
    finding = found(CHECK, replace(good(), path_states=unseen))
    assert finding.message == "no sample shows which group of paths was in use"
    one_seen = (*unseen[1:], good().path_states[-1])
    assert found(CHECK, replace(good(), path_states=one_seen)).verdict is Verdict.PASS
    none = found(CHECK, replace(good(), path_states=()))
    assert none.message == "it is not known which map and which disks are the LUN's"


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, "; and 1 more"), (7, "; and 2 more")])
def test_the_first_five_signs_are_told_in_their_order(count: int, more: str) -> None:
    times = [START + n * NS_PER_S // 2 for n in range(1, count + 1)]
    measured = with_events(*reversed(times))
    finding = found(CHECK, measured)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.endswith(f"{LINE}{more}")
    parts = finding.message.removesuffix(more).split("; ")
    assert [part.split(" (")[0] for part in parts] == [
        f"path b at {n / 2:.2f} s" for n in range(1, 6)
    ]
    assert finding.figures == {"signs of trouble": str(count)}
    assert finding.numbers == {"signs_of_trouble": count}
    assert finding.span_ns == caused(measured, times[0], times[-1])


def test_signs_count_from_the_first_submission_to_the_end_of_the_last_phase() -> None:
    first_ns = min(
        int((one.completions.at_ns - one.completions.latency_ns).min()) for one in good().streams
    )
    for at_ns, verdict in (
        (first_ns, Verdict.FAIL),
        (first_ns - 1, Verdict.PASS),
        (END, Verdict.FAIL),
        (END + 1, Verdict.PASS),
    ):
        assert found(CHECK, with_events(at_ns)).verdict is verdict
    silent = replace(with_events(START), streams=())
    assert found(CHECK, silent).verdict is Verdict.FAIL
    early = replace(with_events(START - 1), streams=())
    assert found(CHECK, early).verdict is Verdict.PASS


def test_a_fault_explains_signs_from_its_injection_until_a_second_after_its_path_is_back() -> None:
    """From before it, by as much as the clocks are uncertain."""
    back_ns = next(e.at_ns for e in good().timeline if e.what is Happened.PATH_REINSTATED)
    first_ns = INJECTED - UNCERTAINTY_NS
    for at_ns, verdict in (
        (first_ns - 1, Verdict.FAIL),
        (first_ns, Verdict.PASS),
        (back_ns + NS_PER_S, Verdict.PASS),
        (back_ns + NS_PER_S + 1, Verdict.FAIL),
    ):
        assert found(CHECK, with_events(at_ns, path="a")).verdict is verdict


def test_events_of_paths_that_are_not_planned_are_passed_over() -> None:
    assert found(CHECK, with_events(INJECTED, path="c")).verdict is Verdict.PASS
    assert found(CHECK, with_event(INJECTED, "b", Happened.PATH_REINSTATED)).numbers == {
        "signs_of_trouble": 0
    }


@pytest.mark.parametrize(("later_ns", "verdict"), [(0, Verdict.UNKNOWN), (1, Verdict.FAIL)])
def test_a_drop_is_over_a_second_after_its_session_is_back(later_ns: int, verdict: Verdict) -> None:
    """What comes until then follows from it, and from the host that made it."""
    at_ns = INJECTED + 5 * NS_PER_S
    busy = busy_host(1.0, start_ns=at_ns - 2 * NS_PER_S, end_ns=at_ns)
    dropped = [
        Event(at_ns, Happened.CONNECTION_ERROR, "initiator kernel", LINE, path="b"),
        Event(at_ns + NS_PER_S, Happened.SESSION_RECOVERED, "initiator kernel", path="b"),
    ]
    lined = with_line(at_ns + 2 * NS_PER_S + later_ns, ERROR)
    told = Timeline.of([*good().timeline, *dropped])
    measured = replace(lined, timeline=told, processors=busy)
    assert found(CHECK, measured).verdict is verdict


@pytest.mark.parametrize(("waited_s", "verdict"), [(1.0, Verdict.UNKNOWN), (0.999, Verdict.FAIL)])
def test_the_host_may_have_made_a_connection_drop_if_it_took_the_shortest_timeout(
    waited_s: float, verdict: Verdict
) -> None:
    """Of its own path: those of another may be shorter. A timeout that is off is none."""
    at_ns = INJECTED - NS_PER_S
    settings = (session_settings("a", 0, 0, 0, "a"), session_settings("b", 1, 2, -1, "b"))
    busy = busy_host(1.0, start_ns=at_ns - int(waited_s * NS_PER_S), end_ns=at_ns)
    measured = replace(with_event(at_ns, "b"), processors=busy, settings=settings)
    finding = found(CHECK, measured)
    assert finding.verdict is verdict, finding.message
    if verdict is Verdict.UNKNOWN:
        assert "for 1.000 s of the 3 s before it, and a timeout is 1 s" in finding.message


def test_where_no_timeout_is_known_the_host_made_nothing_drop() -> None:
    at_ns = INJECTED - NS_PER_S
    busy = busy_host(1.0, start_ns=START, end_ns=at_ns)
    for settings in ((), (session_settings("b", 0, 0, -1, "b"),)):
        measured = replace(with_event(at_ns, "b"), processors=busy, settings=settings)
        assert found(CHECK, measured).verdict is Verdict.FAIL


def test_after_healing_trouble_of_a_path_that_was_not_hit_is_its_own() -> None:
    """However long the other one may take."""
    assert found(CHECK, with_events(HEALED + NS_PER_S)).verdict is Verdict.FAIL
    assert found(CHECK, with_events(HEALED + NS_PER_S, path="a")).verdict is Verdict.PASS


def test_a_disk_that_was_not_planned_excuses_no_planned_path() -> None:
    stray = UnplannedDisk("8:48", "sdd", START, END)
    measured = replace(with_events(INJECTED), unplanned_disks=(stray,))
    assert found(CHECK, measured).verdict is Verdict.FAIL


DROP_NS = INJECTED + 5 * NS_PER_S


def dropping(*events: tuple[float, str, Happened], errors_s: float) -> Measurements:
    """What happens to paths, in seconds since the host took two seconds; then an error of sdb."""
    told = [
        Event(DROP_NS + int(after_s * NS_PER_S), what, "initiator kernel", LINE, path=path)
        for after_s, path, what in events
    ]
    lined = with_line(DROP_NS + int(errors_s * NS_PER_S), ERROR)
    busy = busy_host(1.0, start_ns=DROP_NS - 2 * NS_PER_S, end_ns=DROP_NS)
    timeline = Timeline.of([*good().timeline, *told])
    return replace(lined, timeline=timeline, processors=busy, faults=())


ERR, OUT = Happened.CONNECTION_ERROR, Happened.RECOVERY_TIMED_OUT


@pytest.mark.parametrize(
    ("events", "errors_s", "verdict"),
    [
        ([(0, "b", ERR)], 0, Verdict.UNKNOWN),  # at the same time
        ([(0, "b", ERR), (0.5, "b", OUT)], 2, Verdict.UNKNOWN),  # its session is not back
        ([(0, "a", ERR), (1e-9, "b", ERR)], 0.5, Verdict.UNKNOWN),  # after that of another path
        ([(0, "a", ERR)], 0.5, Verdict.FAIL),  # that of another path alone
    ],
)
def test_what_follows_from_a_drop_of_its_own_path_is_open(
    events: list[tuple[float, str, Happened]], errors_s: float, verdict: Verdict
) -> None:
    lost = {Happened.PATH_FAILED, *(ERR, OUT), Happened.SESSION_RECOVERED}
    measured = dropping(*events, errors_s=errors_s)
    before = [e for e in measured.timeline if e.what not in lost or e.at_ns >= DROP_NS]
    kept = [e for e in before if e.at_ns < HEALED or e.what not in lost]
    finding = found(CHECK, replace(measured, timeline=Timeline.of(kept)))
    assert finding.verdict is verdict, finding.message
    if verdict is Verdict.FAIL:
        assert finding.message.startswith("path b at ")
        assert finding.numbers == {"signs_of_trouble": 2}


def test_the_doubt_of_the_first_sign_is_told() -> None:
    at_ns = INJECTED - NS_PER_S
    error = ERROR.replace("sdb", "sda")
    moving = replace(with_event(at_ns, "b"), counters=moved())
    measured = with_line(at_ns - NS_PER_S // 2, error, measured=moving)
    busy = busy_host(1.0, start_ns=at_ns - 2 * NS_PER_S, end_ns=at_ns)
    finding = found(CHECK, replace(measured, processors=busy))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("; but each of them had a disk of that name")
    assert LINE in finding.message


def reserve_of_a(at_s: float) -> str:
    """It comes into use after 5 s, goes into reserve after 12 s, and is in use again after 20 s."""
    return "a" if at_s < 5 or 12 <= at_s < 20 else ""


def test_a_path_that_goes_and_comes_fails_by_what_was_from_the_first_change_to_the_last() -> None:
    swapped = using(undisturbed(), reserve_of_a)
    times = [change.at_ns for change in swaps(swapped)]
    assert len(times) == len(set(times)) == 3
    finding = found(CHECK, swapped)
    assert finding.verdict is Verdict.FAIL
    assert finding.span_ns == caused(swapped, times[0], times[-1])


def test_a_host_that_was_busy_until_the_last_change_leaves_it_open() -> None:
    """From the first phase on: 0.9 of 10 s, of about 20 s."""
    busy = busy_host(0.9, end_ns=START + 10 * NS_PER_S)
    swapped = replace(using(undisturbed(), reserve_of_a), processors=busy)
    finding = found(CHECK, swapped)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("but the host held back 45% of the processor time until then")


def test_a_single_change_is_told_with_its_path() -> None:
    finding = found(CHECK, using(undisturbed(), lambda at_s: "a" if at_s < 3 else "b"))
    assert finding.message.startswith("path a came into use at 3.0")
