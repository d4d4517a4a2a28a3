"""Several initiators: what faults hit, who writes where, and what is measured of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.budget import Effect, Setting
from harness.config import Config
from harness.config.model import WorkloadConfig
from harness.config.ready import ready_topologies
from harness.errors import MachineError
from harness.faults import (
    Fault,
    InitiatorDrop,
    Injection,
    LinkDown,
    PeerLinkDown,
    SilentDrop,
    Together,
    losses,
)
from harness.measurements import (
    SessionSettings,
)
from harness.testbed import io_session
from harness.testbed.io_session import IoSession
from harness.testbed.lun_layout import Layout
from harness.testbed.phases import Phases
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import Topology, plan
from harness.transport.allowances import InForce
from harness.transport.iscsi.settings import session_settings
from harness.units import KIB, MIB
from harness.workload import FioRun, Job
from harness.workload.sweep import Sweep, Wanted

CONFIG = Config.model_validate(ready_topologies()["two-initiators"])
TWO = plan(CONFIG)
FIRST, SECOND = "initiator", "second"
ALLOWANCES = InForce(
    Setting("login_timeout", 3, "record"), Setting("polling_interval", 1, "multipathd")
)
SETTINGS = {
    one: tuple(
        session_settings(path.name, 1, 1, 1, path.name, target=TWO.target_iqn)
        for path in TWO.of(one).paths
    )
    for one in (FIRST, SECOND)
}


def possible(_: Fault) -> bool:
    return True


def sharing(portals: Sequence[str]) -> Topology:
    """Two initiators with one NIC each, on one network with these portals."""
    return plan(
        Config.model_validate(
            {
                "networks": [
                    {
                        "name": "a",
                        "subnet": "172.16.0.0/24",
                        "portals": portals,
                        "initiator": "172.16.0.101",
                    }
                ],
                "initiators": [{"name": "second", "addresses": {"a": "172.16.0.102"}}],
            }
        )
    )


@pytest.mark.parametrize(
    ("fault", "hits", "machine"),
    [
        (LinkDown("a"), ("a",), "initiator"),
        (LinkDown("second-a"), ("second-a",), "second"),
        (PeerLinkDown("second-a"), ("second-a",), "target"),
        (SilentDrop("b"), ("b", "second-b"), "target"),
        (InitiatorDrop("b"), ("b",), "initiator"),
        (InitiatorDrop("b", "second"), ("second-b",), "second"),
    ],
)
def test_a_fault_acts_on_one_machine_and_hits_its_paths(
    fault: Any, hits: tuple[str, ...], machine: str
) -> None:
    """A portal is that of every initiator, a link that of one."""
    assert fault.hits(TWO) == hits
    assert fault.machine(TWO) == machine


def test_what_can_be_lost_has_names_of_its_own() -> None:
    """Those of the first initiator are as with one alone."""
    names = [f"{loss.where}-{type(loss).__name__}" for loss in losses(TWO, possible)]
    assert names == [
        *("a-LinkDown", "second-a-LinkDown", "b-LinkDown", "second-b-LinkDown"),
        *("a-PeerLinkDown", "second-a-PeerLinkDown", "b-PeerLinkDown", "second-b-PeerLinkDown"),
        *("a-SilentDrop", "b-SilentDrop"),
        *("a-InitiatorDrop", "b-InitiatorDrop"),
        *("second-a-InitiatorDrop", "second-b-InitiatorDrop"),
        *("a-NetworkLost", "b-NetworkLost"),
    ]
    network = losses(TWO, possible)[-1]
    assert network.hits(TWO) == ("b", "second-b")


def test_a_loss_leaves_each_initiator_a_path() -> None:
    """A link that is all that one of them has is none that can be lost."""
    found = losses(sharing(["172.16.0.1", "172.16.0.2"]), possible)
    assert {fault.name for fault in found} == {
        *("SilentDrop(a1)", "SilentDrop(a2)", "InitiatorDrop(a1)", "InitiatorDrop(a2)"),
        *("InitiatorDrop(second-a1)", "InitiatorDrop(second-a2)"),
    }


def test_a_fault_of_one_initiator_allows_the_other_the_slack_alone() -> None:
    """It has no path that could be given up, and none that has to come back."""
    fault = Injection(LinkDown("second-a"), TWO, *range(1, 5))
    own = fault.on(SECOND).record(SETTINGS[SECOND], 0.5, ALLOWANCES)
    other = fault.on(FIRST).record(SETTINGS[FIRST], 0.5, ALLOWANCES)
    assert (own.paths, own.budget.seconds, own.io_stops) == (("second-a",), 3.5, False)
    assert (other.paths, other.budget.seconds, other.io_stops) == ((), 0.5, False)
    assert other.returning.seconds == 0.5
    assert (own.effects, other.effects) == ((Effect.UNREACHABLE,), ())


def test_of_a_fault_of_several_parts_each_initiator_notices_its_own() -> None:
    """And waits for them alone to come back: silence needs no second attempt to log in."""
    both = Injection(Together((LinkDown("second-a"), InitiatorDrop("b"))), TWO, *range(1, 5))
    own = both.on(SECOND).record(SETTINGS[SECOND], 0.5, ALLOWANCES)
    other = both.on(FIRST).record(SETTINGS[FIRST], 0.5, ALLOWANCES)
    assert (own.effects, other.effects) == ((Effect.UNREACHABLE,), (Effect.SILENT,))
    assert own.returning.seconds > other.returning.seconds


def test_io_is_not_expected_of_the_initiator_that_lost_every_path() -> None:
    """It is of the other."""
    fault = Injection(Together((LinkDown("a"), LinkDown("b"))), TWO, 20)
    phases = Phases()
    phases.start(10)
    phases.note(fault)
    fault.healed_ns = 30
    phases.note(fault)
    assert [phase.io_expected for phase in phases.over(FIRST)] == [True, False]
    assert [phase.io_expected for phase in phases.over(SECOND)] == [True, True]
    assert not fault.io_stops
    assert fault.on(FIRST).io_stops


@given(
    region=st.integers(16 * MIB, 256 * MIB),
    block_size=st.integers(1, 256).map(lambda n: n * 4 * KIB),
    initiators=st.integers(2, 4),
    seed=st.integers(0, 2**31),
)
def test_initiators_write_to_parts_of_a_lun_that_do_not_overlap(
    region: int, block_size: int, initiators: int, seed: int
) -> None:
    """And stay in the region; who may not write has the reads of the first one's part."""
    workload = WorkloadConfig(region=region, block_size=block_size)
    layout = Layout.of(workload, initiators + 1, initiators)
    names = tuple(f"i{number}" for number in range(initiators))
    lun = replace(TWO.luns[2], initiators=(*names, "reader"), read_only=("reader",))
    maps = replace(
        TWO,
        luns=(lun,),
        machines=tuple(replace(TWO.machines[1], name=name) for name in (*names, "reader")),
    ).maps
    every = [layout.jobs_on(one, (layout.fill(), *layout.mixed(seed))) for one in maps]
    for jobs in every:
        assert all(job.area.size >= job.block_size for job in jobs)
        assert all(job.area.end <= region for job in jobs)
    for one, next_one in pairwise(every[:-1]):
        assert max(j.area.end for j in one) <= min(j.area.offset for j in next_one)
    assert [job.name for job in every[-1]] == ["read", "probe"]
    assert every[-1][0].area == every[0][0].area


class Bench:
    """As much of a testbed with two initiators as a block of I/O needs."""

    config = CONFIG
    topology = TWO
    machines = ("target", FIRST, SECOND)
    domains: dict[str, object] = {}  # noqa: RUF012  # never changed
    layout = Layout.planned(CONFIG.workload, TWO)

    def __init__(self) -> None:
        self.started: list[tuple[str, str, tuple[str, ...]]] = []
        self.swept: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.mute: set[str] = set()
        self.off = threading.Event()
        attachment = SimpleNamespace(
            device="/dev/mapper/x",
            map_name="x",
            stop_queueing=lambda: None,
            describe_paths=lambda: "paths",
            listing="multipath -ll",
        )
        self.maps = tuple(
            SimpleNamespace(planned=one, paths=(), attachment=attachment) for one in TWO.maps
        )
        initiator = SimpleNamespace(allowances=lambda: ALLOWANCES)
        self.initiators = {FIRST: initiator, SECOND: initiator}

    def start(
        self, machine: Any, _: str, jobs: Sequence[Job], *, folder: str, program: str
    ) -> AbstractContextManager[Any]:
        self.started.append((machine.name, folder, tuple(job.name for job in jobs)))
        fio = SimpleNamespace(
            running=True,
            require_running=lambda: None,
            stop=lambda: None,
            finish=lambda _: SimpleNamespace(broken="", ledgers=list),
        )
        return nullcontext(fio)

    def sweep(self, machine: Any, wanted: Mapping[str, Wanted]) -> AbstractContextManager[Any]:
        """One program an initiator."""
        assert machine.name not in {name for name, _ in self.swept}
        self.swept += [(machine.name, one.log.rpartition("/")[0]) for one in wanted.values()]
        ready = SimpleNamespace(wait_until_ready=lambda _: None, finish=dict)
        return nullcontext(ready)

    def machine(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name)

    def observer(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(begin=lambda _: None, collect=lambda: f"seen of {name}")

    def session_settings(self, initiator: str) -> tuple[SessionSettings, ...]:
        self.asked.append(initiator)
        return SETTINGS[initiator]

    def planned_sessions(self, _: str) -> tuple[()]:
        return ()

    def nic(self, machine: str, link: str) -> str:
        return f"{machine} at {link}"

    def answers(self, machine: str, _: float) -> bool:
        return machine not in self.mute

    def power_off(self) -> None:
        self.off.set()

    lab_disks = ("vda",)


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bench, Sequence[Job]], IoSession]:
    def begin(bench: Bench, jobs: Sequence[Job]) -> IoSession:
        monkeypatch.setattr(FioRun, "started", bench.start)
        monkeypatch.setattr(Sweep, "started", bench.sweep)
        return IoSession(cast(MeasuredTestbed, bench), jobs, 600)

    monkeypatch.setattr(io_session, "gather", lambda *_: {})
    monkeypatch.setattr(
        io_session,
        "read_everything_back",
        lambda machine, *_: SimpleNamespace(back=machine.name, looks={}),
    )
    monkeypatch.setattr(io_session, "assemble", lambda raw: raw)
    return begin


def test_each_initiator_runs_what_it_may_on_its_own_luns(
    measuring: Callable[[Bench, Sequence[Job]], IoSession],
) -> None:
    """And what is measured of it is of its own sessions, machine and cables."""
    bench = Bench()
    session = measuring(bench, bench.layout.mixed(1))
    with session.running():
        session.note_fault(fault := Injection(LinkDown("second-a"), TWO, 1))
        fault.healed_ns = fault.healing_confirmed_ns = 2
        session.note_fault(fault)
    mixed = ("write", "read", "hot", "probe")
    assert bench.started == [
        ("initiator", "/run/pathproof/fio/lun0", mixed),
        ("initiator", "/run/pathproof/fio/lun2", mixed),
        ("second", "/run/pathproof/fio/lun1", mixed),
        ("second", "/run/pathproof/fio/lun2", ("read", "probe")),
    ]
    writing = [(machine, folder) for machine, folder, jobs in bench.started if "write" in jobs]
    assert bench.swept == writing
    assert sorted(bench.asked) == [FIRST, FIRST, SECOND, SECOND]
    raws: Any = session.measurements_by_lun
    assert list(raws) == [one.name for one in TWO.maps]
    first, second = raws["initiator/lun2"], raws["second/lun2"]
    assert (first.initiator, first.lun, first.read_only) == (FIRST, "lun2", False)
    assert (second.initiator, second.lun, second.read_only) == (SECOND, "lun2", True)
    assert (first.settings, second.settings) == (SETTINGS[FIRST], SETTINGS[SECOND])
    assert set(first.observations) == set(first.machines) == {"target", FIRST}
    assert set(second.observations) == set(second.machines) == {"target", SECOND}
    assert second.cables == {
        link: {"target": f"target at {link}", SECOND: f"second at {link}"}
        for link in ("second-a", "second-b")
    }
    assert (first.read_back, second.read_back) == (FIRST, SECOND)
    assert [record.paths for record in first.faults] == [()]
    assert [record.paths for record in second.faults] == [("second-a",)]


def test_an_initiator_that_only_reads_has_no_part_in_writes_alone(
    measuring: Callable[[Bench, Sequence[Job]], IoSession],
) -> None:
    """There is nothing that could be judged."""
    bench = Bench()
    session = measuring(bench, [bench.layout.fill()])
    with session.running():
        pass
    assert list(session.measurements_by_lun) == ["initiator/lun0", "initiator/lun2", "second/lun1"]


def test_the_initiator_that_does_not_answer_is_named(
    measuring: Callable[[Bench, Sequence[Job]], IoSession],
) -> None:
    """Any of them is watched."""
    bench = Bench()
    session = measuring(bench, bench.layout.mixed(1))

    def block() -> None:
        with session.running():
            bench.mute.add(SECOND)
            assert bench.off.wait(10)

    with pytest.raises(MachineError, match=r"^initiator second does not answer; every VM"):
        block()
