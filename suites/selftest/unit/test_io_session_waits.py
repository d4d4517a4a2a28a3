"""What a block of I/O waits for and looks at, with a stand-in for the testbed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.budget import Setting
from harness.deadline import Deadline
from harness.errors import (
    InitiatorError,
    MachineError,
    defects,
)
from harness.faults import Injection, SilentDrop
from harness.observe import DiskSample, MapSample, Sample
from harness.testbed import io_session, witness
from harness.testbed.map_view import wait_until_lost
from harness.testbed.protocols import MeasuredTestbed
from harness.testbed.witness import Witness
from harness.topology import Role
from harness.transport.iscsi.settings import session_settings
from harness.transport.path_disk import PathDisk
from harness.workload import FioRun, Job
from harness.workload.sweep import Sweep, Wanted
from suites.selftest.unit.io_session_bench import (
    ALLOWANCES,
    Bench,
    Fio,
    Observer,
    measured,
    patched,
    session_of,
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return patched(monkeypatch)


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


def test_a_listing_that_hangs_is_given_up(bench: Bench) -> None:
    """It is for people, and must not cost the verdict."""
    listing = threading.Event()
    bench.map.attachment.describe_paths = listing.wait
    seen = Witness(cast(MeasuredTestbed, bench))
    seen.list_paths("after", within_s=0.1)
    listing.set()
    assert seen.path_listings["lun0"] == {"multipath -ll after": "multipath -ll: not within 0 s"}


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


@pytest.mark.parametrize(
    ("sessions", "bears_s"), [(((5, 7, 1), (5, 3, 1)), 3), (((5, 0, 1),), inf)]
)
def test_a_silence_may_last_as_long_as_each_session_bears_it(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    sessions: tuple[tuple[int, int, int], ...],
    bears_s: float,
) -> None:
    """By what was in force when the I/O began."""
    bench.fio.hangs = False
    bench.initiator.allowances = lambda: ALLOWANCES
    seen = tuple(session_settings("a", *one) for one in sessions)
    monkeypatch.setattr(bench, "session_settings", lambda _: seen)
    one = session_of(bench, 7.0)
    with one.running():
        assert one.bears_s == bears_s


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


def test_fio_begins_once_what_it_writes_is_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same nonces. Else nothing of what it writes first would be seen for a second."""
    bench.fio.hangs = False
    marks: list[list[str]] = []

    class Looking:
        def wait_until_ready(self, _: Deadline) -> None:
            bench.told.append("ready")

        def finish(self) -> dict[str, object]:
            return {}

    @contextmanager
    def sweep(_machine: object, wanted: Mapping[str, Wanted]) -> Iterator[Looking]:
        bench.told.append("sweep")
        (only,) = wanted.values()
        marks.append([job.nonce for job in only.jobs])
        yield Looking()

    def fio(_machine: object, _device: str, jobs: Sequence[Job], **_: object) -> Fio:
        bench.told.append("fio")
        marks.append([job.nonce for job in jobs if job.keeps_a_ledger])
        return bench.fio

    monkeypatch.setattr(Sweep, "started", sweep)
    monkeypatch.setattr(FioRun, "started", fio)
    jobs = bench.layout.mixed(seed=1)
    session = session_of(bench, 60, jobs)
    with session.running():
        pass
    assert bench.told[:3] == ["sweep", "ready", "fio"]
    assert all(marks[0])
    assert marks[0] == marks[1]
