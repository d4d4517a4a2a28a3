"""A block of I/O that does not end as it should, with a stand-in for the testbed."""

from __future__ import annotations

import threading
import time

import pytest

from harness.errors import (
    CutShort,
    HypervisorError,
    MachineError,
    TimedOut,
    WorkloadError,
    defects,
)
from harness.testbed import io_session, watchdog
from harness.topology import Role
from suites.selftest.unit.io_session_bench import (
    Bench,
    measured,
    patched,
    session_of,
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return patched(monkeypatch)


def test_io_that_hangs_past_its_deadline_is_ended_step_by_step(bench: Bench) -> None:
    """Evidence before anything is changed; errors only once fio had its time."""
    session = session_of(bench, 0.05)
    started = time.monotonic()
    with session.running():
        session.run_for(seconds=3600)
    assert time.monotonic() - started < 5
    assert bench.told == [
        *("evidence", "stop fio", "wait 20 s", "no queueing", "wait 30 s"),
        *("heal", "2 active paths"),
    ]
    assert "the 0.05 s that this I/O was given are over; fio hangs" in session.cut_short
    assert "not all was read back: 2 active paths: not within 30 s" in session.cut_short
    assert measured(session) == (dict.fromkeys(Role, "seen"), None)


def test_io_that_ends_after_all_is_read_back_without_force(bench: Bench) -> None:
    """Healing was enough."""
    bench.fio.hangs = False
    session = session_of(bench, 0.05)
    with session.running():
        session.run_for(seconds=3600)
    assert bench.told == ["evidence", "stop fio", "wait 20 s", "read back"]
    assert "are over" in session.cut_short


def test_a_read_back_that_hangs_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is judged."""
    reading = threading.Event()
    bench.fio.hangs = False
    monkeypatch.setattr(watchdog, "READ_BACK_S", watchdog.EVIDENCE_S + 0.1)
    monkeypatch.setattr(io_session, "read_everything_back", lambda *_: reading.wait())
    session = session_of(bench, 0.05)
    with session.running():
        pass
    reading.set()
    assert session.cut_short == "not all was read back: the read-back: not within 0 s"
    assert bench.told[-1] == "evidence"
    assert measured(session) == (dict.fromkeys(Role, "seen"), None)


def test_a_target_that_died_by_itself_is_judged(bench: Bench) -> None:
    """Without what it saw, and without a read-back."""
    bench.observers[Role.TARGET].answering = False
    session = session_of(bench, 0.05)
    with session.running():
        session.run_for(seconds=3600)
    assert "the target does not answer" in session.cut_short
    assert measured(session) == ({Role.INITIATOR: "seen"}, None)
    assert bench.told[-1] == "close target"


def test_a_target_that_is_not_ours_is_not_looked_at(bench: Bench) -> None:
    """It has no machine: what the initiator saw is all there is, and is read back."""
    del bench.observers[Role.TARGET]
    bench.fio.hangs = False
    session = session_of(bench, 0.05)
    with session.running():
        session.run_for(seconds=3600)
    assert "target" not in session.cut_short
    assert measured(session) == ({Role.INITIATOR: "seen"}, "read back")


def test_a_target_that_the_hypervisor_does_not_run_is_the_labs_fault(bench: Bench) -> None:
    bench.observers[Role.TARGET].answering = False
    bench.standstill = "the hypervisor says that it is paused"
    session = session_of(bench, 0.05)

    def block() -> None:
        with session.running():
            session.run_for(seconds=3600)

    with pytest.raises(HypervisorError, match=r"target does not answer: .* it is paused"):
        block()


def test_a_failure_in_the_block_is_cleared_up_with_evidence(bench: Bench) -> None:
    """And its time is bounded from then on."""
    session = session_of(bench, 3600)

    def block() -> None:
        with session.running():
            raise MachineError("something else")

    with pytest.raises(MachineError, match="something else"):
        block()
    assert bench.told == ["evidence", "heal", "no queueing"]
    assert session.watchdog.expired


def test_a_clean_up_that_fails_leaves_an_assertion_what_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heal() -> None:
        raise MachineError("no answer")

    monkeypatch.setattr(bench, "heal", heal)
    session = session_of(bench, 3600)

    def block() -> None:
        with session.running():
            raise AssertionError("too slow")

    with pytest.raises(AssertionError, match="too slow"):
        block()
    assert bench.told == ["evidence", "no queueing"]


def test_a_programming_error_in_a_clean_up_is_heard_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an error of the lab hides it."""

    def heal() -> None:
        try:
            raise TypeError("x")
        finally:
            raise MachineError("no answer")

    monkeypatch.setattr(bench, "heal", heal)
    session = session_of(bench, 3600)

    def block() -> None:
        with session.running():
            raise MachineError("something else")

    with pytest.raises(MachineError) as raised:
        block()
    assert [type(one) for one in defects(raised.value)] == [TypeError]
    assert bench.told == ["evidence", "no queueing"]


def test_whoever_interrupts_does_not_wait_for_evidence(bench: Bench) -> None:
    session = session_of(bench, 3600)

    def block() -> None:
        with session.running():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        block()
    assert bench.told == ["heal", "no queueing"]


def test_an_fio_that_left_nothing_is_judged(bench: Bench) -> None:
    bench.fio.hangs = False
    bench.fio.broken = "fio left no report (exit status -9)"
    session = session_of(bench, 60)
    with session.running():
        pass
    assert session.cut_short == "fio left no report (exit status -9)"
    assert measured(session)[0] == dict.fromkeys(Role, "seen")


def test_what_is_done_before_the_read_back_may_fail_like_io(bench: Bench) -> None:
    """It is a part of the block: what it cuts short is judged, what it breaks is cleared up."""
    bench.fio.hangs = False

    def gone() -> None:
        raise CutShort("the target does not come back")

    session = session_of(bench, 60)
    with session.running():
        session.before_read_back(gone)
    assert session.cut_short == "the target does not come back"
    assert measured(session)[1] == "read back"

    def broken() -> None:
        raise MachineError("no such machine")

    session = session_of(bench, 60)

    def block() -> None:
        with session.running():
            session.before_read_back(broken)

    with pytest.raises(MachineError, match="no such machine"):
        block()
    assert bench.told[-3:] == ["evidence", "heal", "no queueing"]


def test_logs_that_contradict_each_other_leave_the_data_unproven(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other checks still have what they need."""

    def contradict(*_: object) -> None:
        raise WorkloadError("fio reports 3 writes, but logged 2")

    monkeypatch.setattr(io_session, "read_everything_back", contradict)
    bench.fio.hangs = False
    session = session_of(bench, 60)
    with session.running():
        pass
    assert session.cut_short == "nothing was read back: fio reports 3 writes, but logged 2"
    assert measured(session)[1] is None


@pytest.mark.parametrize("failure", [TimedOut("nft hangs"), TypeError("x")])
def test_queueing_stops_even_if_healing_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Else fio could not be ended; a failure to heal does not hide what led there."""

    def heal() -> None:
        raise failure

    monkeypatch.setattr(bench, "heal", heal)
    with (
        pytest.raises(WorkloadError if isinstance(failure, TimedOut) else TypeError),
        session_of(bench, 100).running(),
    ):
        raise WorkloadError("fio died")
    assert "no queueing" in bench.told


def test_evidence_that_cannot_be_collected_stops_no_clean_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(*_: object) -> dict[str, str]:
        raise TypeError("x")

    monkeypatch.setattr(io_session, "gather", gather)
    with pytest.raises(TypeError), session_of(bench, 100).running():
        raise WorkloadError("fio died")
    assert bench.told[-2:] == ["heal", "no queueing"]
