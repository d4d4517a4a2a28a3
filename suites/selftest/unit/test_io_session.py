"""A block of I/O that does not end as it should, with a stand-in for the testbed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from harness.budget import Setting
from harness.config import Config
from harness.errors import (
    CutShort,
    FioHangs,
    HypervisorError,
    InitiatorError,
    MachineError,
    TimedOut,
    WorkloadError,
    defects,
)
from harness.faults import Injection, SilentDrop
from harness.observe import DiskSample, MapSample, Sample
from harness.testbed import io_session, watchdog, witness
from harness.testbed.io_session import IoSession
from harness.testbed.lun_layout import Layout
from harness.testbed.map_view import wait_until_lost
from harness.testbed.protocols import MeasuredTestbed
from harness.testbed.witness import Witness
from harness.topology import Role, plan
from harness.transport.allowances import InForce
from harness.transport.iscsi.settings import session_settings
from harness.transport.path_disk import PathDisk
from harness.workload import FioRun


class Observer:
    """A machine that answers, or does not."""

    def __init__(self, told: list[str], *, answering: bool = True) -> None:
        self.told = told
        self.answering = answering

    def answers(self, within_s: float) -> bool:
        return self.answering

    def begin(self, mark: str) -> None:
        pass

    ended = False

    def collect(self) -> str:
        assert self.answering
        return "seen"

    def wait_for(self, condition: object, *, what: str, deadline: Any) -> None:
        self.told.append(what)
        raise TimedOut(f"{what}: not within {deadline.allowed_s:.0f} s")


class Fio:
    """An fio whose I/O hangs until the map no longer queues."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.hangs = True
        self.broken = ""
        self.jobs = ()

    @property
    def running(self) -> bool:
        return True

    def require_running(self) -> None:
        pass

    def stop(self) -> None:
        self.told.append("stop fio")

    def finish(self, timeout_s: float) -> SimpleNamespace:
        self.told.append(f"wait {timeout_s:.0f} s")
        if self.hangs:
            raise FioHangs("fio hangs")
        return SimpleNamespace(broken=self.broken)

    def __enter__(self) -> Fio:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


ALLOWANCES = InForce(
    Setting("login_timeout", 3, "record"), Setting("polling_interval", 1, "multipathd")
)


@dataclass
class Bench:
    """As much of a testbed as a block of I/O needs, and what happened to it, in order."""

    told: list[str] = field(default_factory=list)
    standstill: str = ""
    looks: int = 0

    def __post_init__(self) -> None:
        self.config = Config()
        self.fio = Fio(self.told)
        attachment = SimpleNamespace(
            device="/dev/mapper/lun",
            map_name="lun",
            stop_queueing=self._stop_queueing,
            describe_paths=lambda: "paths",
            listing="multipath -ll",
        )
        self.topology = plan(self.config)
        (planned,) = self.topology.maps
        self.map = SimpleNamespace(planned=planned, attachment=attachment, paths=("a", "b"))
        self.maps = (self.map,)
        self.layout = Layout.of(self.config.workload)
        self.observers = {role: Observer(self.told) for role in Role}
        self.initiator = SimpleNamespace(allowances=lambda: ALLOWANCES)
        self.initiators = {Role.INITIATOR: self.initiator}

    @property
    def machines(self) -> tuple[Role, ...]:
        return tuple(self.observers)

    def _stop_queueing(self) -> None:
        self.told.append("no queueing")
        self.fio.hangs = False

    def session_settings(self, _: str) -> tuple[str]:
        self.looks += 1
        return (f"look {self.looks}",)

    def planned_sessions(self, _: str) -> tuple[()]:
        return ()

    def machine(self, role: Role) -> SimpleNamespace:
        return SimpleNamespace(close=lambda: self.told.append(f"close {role}"), name=role)

    def observer(self, role: Role) -> Observer:
        return self.observers[role]

    domains: ClassVar[dict[str, object]] = {}

    def domain(self, role: Role) -> SimpleNamespace:
        return SimpleNamespace(pid=None, standstill=self.standstill)

    def answers(self, role: Role, within_s: float) -> bool:
        return self.observers[role].answering

    def heal(self) -> None:
        self.told.append("heal")

    def power_off(self) -> None:
        self.told.append("power off")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench()

    def gather(*_: object) -> dict[str, str]:
        bench.told.append("evidence")
        return {}

    def read_back(_machine: object, _map: object, _result: object, _again: float) -> str:
        bench.told.append("read back")
        return "read back"

    def assemble(_session: IoSession, of: Any, _result: object, seen: object) -> Any:
        return seen, of.reading

    monkeypatch.setattr(io_session, "gather", gather)
    monkeypatch.setattr(FioRun, "started", lambda *_, **__: bench.fio)
    monkeypatch.setattr(io_session, "read_everything_back", read_back)
    monkeypatch.setattr(IoSession, "_assemble", assemble)
    return bench


def measured(session: IoSession) -> Any:
    """What machines saw, and what was read back."""
    return session.measurements


def session_of(bench: Bench, within_s: float) -> IoSession:
    return IoSession(cast(MeasuredTestbed, bench), (), within_s)


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


def test_sessions_are_looked_at_again_once_io_is_over(bench: Bench) -> None:
    """A path that came back has logged in anew; where I/O was cut short that says nothing."""
    bench.fio.hangs = False
    for within_s, seconds, after in ((60.0, 0.01, ("look 2",)), (0.05, 3600, None)):
        bench.looks = 0
        session = session_of(bench, within_s)
        with session.running():
            session.run_for(seconds=seconds)
        seen: Any = session._witness.seen[Role.INITIATOR]
        assert (seen.settings, seen.settings_after) == (("look 1",), after)


@pytest.mark.parametrize("failure", [MachineError("no answer"), InitiatorError("odd"), None])
def test_sessions_that_cannot_be_looked_at_cost_no_measurement(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    """Nor do those that take too long to look at; what else was measured is judged."""
    bench.fio.hangs = False
    never = threading.Event()
    attached: dict[str, str] = {}

    def settings(_: str) -> tuple[str]:
        bench.looks += 1
        if bench.looks == 1:
            return ("before",)
        if failure is None:
            never.wait()
        raise failure or MachineError("too late")

    monkeypatch.setattr(bench, "session_settings", settings)
    monkeypatch.setattr(io_session, "SETTINGS_S", 0.05)
    monkeypatch.setattr(witness, "attach", attached.__setitem__)
    session = session_of(bench, 60.0)
    with session.running():
        pass
    never.set()
    assert session._witness.seen[Role.INITIATOR].settings_after is None
    assert measured(session) == (dict.fromkeys(Role, "seen"), "read back")
    text = str(failure) if failure else "the sessions' settings: not within 0 s"
    assert attached == {"sessions not looked at": text}


def test_a_programming_error_while_looking_at_sessions_is_raised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if an error of the lab hides it."""
    bench.fio.hangs = False

    def settings(_: str) -> tuple[str]:
        bench.looks += 1
        if bench.looks == 1:
            return ("before",)
        try:
            raise KeyError("x")
        finally:
            raise MachineError("no answer")

    monkeypatch.setattr(bench, "session_settings", settings)
    with pytest.raises(MachineError) as caught, session_of(bench, 60.0).running():
        pass
    assert defects(caught.value)


def test_machines_that_the_run_did_not_make_are_those_without_a_domain(bench: Bench) -> None:
    """Of the two, one is the hypervisor's."""
    seen = Witness(cast(MeasuredTestbed, bench))
    assert seen.existing == seen.machines == tuple(Role)
    bench.domains = {Role.TARGET: object()}  # type: ignore[misc]  # for this bench alone
    assert seen.existing == (Role.INITIATOR,)


def test_io_runs_when_paths_carry_it_and_not_when_none_is_known(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map's disks may be others than those that the paths had."""
    bench.fio.hangs = False
    bench.map.paths = (PathDisk("a", "sda", "8:0"), PathDisk("b", "sdb", "8:16"))

    def sample(number: str, carried: int) -> Sample:
        disk = DiskSample(carried, 0, completed=0, in_flight=0, state="running")
        paths = {number: "active", "8:16": "failed"}
        return Sample(0, {"sda": disk}, {"lun": MapSample(paths)}, {}, {}, 0, 0)

    strange, idle, busy = sample("8:32", 0), sample("8:0", 0), sample("8:0", 2**20)
    coming = [strange, idle, idle, busy]

    def wait_for(condition: Callable[[Sample], bool], *, what: str, **_: object) -> Sample:
        bench.told.append(what)
        while not condition(seen := coming.pop(0)):
            pass
        return seen

    monkeypatch.setattr(bench.observers[Role.INITIATOR], "wait_for", wait_for)
    session = session_of(bench, 60.0)
    with session.running():
        session.wait_until_running()
        assert coming == []
    assert bench.told[:2] == ["byte counters of the paths", "I/O on a (sda)"]


def test_a_wait_for_io_ends_with_the_block(bench: Bench) -> None:
    """Which is then judged."""
    bench.fio.hangs = False
    session = session_of(bench, 7.0)
    with session.running():
        session.wait_until_running()
    assert "byte counters of the paths: not within 7 s" in session.cut_short
    assert bench.told[:2] == ["byte counters of the paths", "evidence"]


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


def test_an_observer_that_ends_cuts_the_io_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen until then is judged; the machine is alive."""

    def wait_for(*_: object, **_more: object) -> None:
        raise MachineError("initiator: the observer ended")

    watched = bench.observers[Role.INITIATOR]
    monkeypatch.setattr(watched, "wait_for", wait_for)
    bench.fio.hangs = False
    monkeypatch.setattr(Observer, "ended", True)
    session = session_of(bench, 60)
    with session.running():
        session.wait_until_running()
    assert session.cut_short == "initiator: the observer ended"
    assert measured(session)[1] == "read back"


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


def test_a_listing_that_hangs_is_given_up(bench: Bench) -> None:
    """It is for people, and must not cost the verdict."""
    listing = threading.Event()
    bench.map.attachment.describe_paths = listing.wait
    seen = Witness(cast(MeasuredTestbed, bench))
    seen.list_paths("after", within_s=0.1)
    listing.set()
    assert seen.path_listings["lun0"] == {"multipath -ll after": "multipath -ll: not within 0 s"}


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


@pytest.mark.parametrize(
    ("session", "polling_s", "patience_s"),
    [((5, 5, 120), 5, 260), ((1, 1, 1), 240, 488), ((1, 1, -1), 5, 18)],
)
def test_paths_are_waited_for_as_long_as_the_settings_in_force_allow(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    session: tuple[int, int, int],
    polling_s: int,
    patience_s: float,
) -> None:
    """Twice that: until they fail, or until they are back (login 3 s, a tick); not for ever."""
    bench.fio.hangs = False
    polling = Setting("polling_interval", polling_s, "multipathd")
    bench.initiator.allowances = lambda: replace(ALLOWANCES, polling=polling)
    seen = (session_settings("a", *session),)
    monkeypatch.setattr(bench, "session_settings", lambda _: seen)
    one = session_of(bench, 7.0)
    with one.running():
        one.note_fault(Injection(SilentDrop("a"), bench.topology, injected_ns=1))
        assert one.patience_s == patience_s


def test_what_waits_for_a_loss_that_does_not_come_ends_with_the_io(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is judged as it is; and no wait outlasts the I/O."""
    bench.fio.hangs = False
    monkeypatch.setattr(bench, "session_settings", lambda _: ())
    one = session_of(bench, 7.0)
    with one.running():
        view: Any = SimpleNamespace(machine=Role.INITIATOR, observer=bench.observer(Role.INITIATOR))
        wait_until_lost([view], one, ["a"])
    assert one.cut_short.startswith("the loss of paths a: not within 7 s")
