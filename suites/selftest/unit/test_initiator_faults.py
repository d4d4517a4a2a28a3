"""Faults of an initiator itself: what they do there, what proves it, and what they may cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.budget import Effect, Setting
from harness.config import Config
from harness.config.profiles import FAST
from harness.config.ready import ready_topologies
from harness.errors import FaultError, TimedOut
from harness.faults import (
    DiskDeleted,
    DiskOffline,
    Fault,
    Injection,
    Lab,
    LinkDown,
    LoginDaemonKilled,
    Means,
    PathDaemonKilled,
    PathDaemonReconfigured,
    PathDaemonRestarted,
    Rescan,
    Together,
)
from harness.faults.repeated import REPEATED_KINDS
from harness.faults.undoing import UndoneByShell
from harness.measurements import FaultRecord
from harness.testbed.means import lacking
from harness.topology import Topology, plan
from harness.transport import Daemon, FaultShell, IscsiInitiator
from harness.transport.allowances import InForce
from harness.transport.iscsi.settings import session_settings
from harness.units import NS_PER_S
from suites.selftest.means import means_of
from suites.selftest.unit.existing_host import WWID
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

TWO = plan(Config())
FOUR = plan(Config.model_validate(ready_topologies()["four"]))
INITIATORS = plan(Config.model_validate(ready_topologies()["two-initiators"]))
REPEATED = tuple(kind.fault for kind in REPEATED_KINDS)


def lab(*answers: Answer | str, topology: Topology = TWO) -> tuple[Lab, ScriptedMachine, list[str]]:
    """One machine for all that answers in turn, the last time again and again; and who was asked.

    Its initiators have one LUN.
    """
    left = [Answer(one) if isinstance(one, str) else one for one in answers or ("",)]
    machine = ScriptedMachine(lambda _: left.pop(0) if len(left) > 1 else left[0])
    asked: list[str] = []

    def named(name: str) -> ScriptedMachine:
        asked.append(name)
        return machine

    initiators = {
        name: IscsiInitiator(machine, topology.of(name), FAST, ("3600",))
        for name in topology.initiators
    }
    found = SimpleNamespace(topology=topology, initiators=initiators, machine=named)
    return cast(Lab, found), machine, asked


def scripts(machine: ScriptedMachine) -> list[str]:
    return [asked.argv[-1] for asked in machine.asked]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    for module in ("daemons", "on_initiator", "disks"):
        monkeypatch.setattr(f"harness.faults.{module}.CONFIRM_TIMEOUT_S", 0.0)


@pytest.mark.parametrize("kind", [LoginDaemonKilled, PathDaemonKilled])
def test_a_daemon_that_was_killed_has_no_process(kind: Any) -> None:
    """While it lasts: one that runs again was not killed, whoever started it."""
    fault = kind()
    bed, machine, asked = lab("0\n")
    fault.inject(bed)
    assert scripts(machine) == [bed.initiators["initiator"].for_faults.kill(kind.daemon)]
    fault.confirm(bed)
    sample = means_of(fault, bed)[fault.name]
    assert (sample.missing, sample.count, sample.grows) == ("", None, False)
    assert set(asked) == {"initiator"}
    alive, *_ = lab("812\n")
    with pytest.raises(TimedOut):
        fault.confirm(alive)
    assert means_of(fault, alive)[fault.name].missing == f"the {kind.daemon} of the initiator runs"


@pytest.mark.parametrize("kind", [LoginDaemonKilled, PathDaemonKilled, PathDaemonRestarted])
def test_a_daemon_is_mended_once_it_is_ready(kind: Any) -> None:
    fault = kind()
    ready, machine, _ = lab(Answer("0\n"))
    fault.confirm_healed(ready)
    assert scripts(machine)[0] == ready.initiators["initiator"].for_faults.is_ready(kind.daemon)
    starting, *_ = lab(Answer("0\n", status=1))
    with pytest.raises(TimedOut):
        fault.confirm_healed(starting)


def test_a_daemon_is_that_of_one_initiator() -> None:
    """Which is named, if it is not the first one."""
    bed, _, asked = lab("0\n", topology=INITIATORS)
    for fault in LoginDaemonKilled.everywhere(INITIATORS, lambda _: True):
        fault.inject(bed)
    assert asked == ["initiator", "second"]
    assert LoginDaemonKilled("second").hits(INITIATORS) == ("second-a", "second-b")
    assert LoginDaemonKilled("second").description.startswith(
        "the login daemon of initiator second"
    )


def test_what_is_done_to_a_daemon_is_undone_by_one_text() -> None:
    """So before a test it is run once."""
    bed, *_ = lab()
    every: Sequence[UndoneByShell] = (
        *(PathDaemonKilled(), PathDaemonRestarted(), PathDaemonReconfigured()),
    )
    assert len({one.undoing(bed)["initiator"] for one in every}) == 1
    assert LoginDaemonKilled().undoing(bed) != every[0].undoing(bed)
    disks = (DiskOffline("a"), DiskOffline("b"), DiskDeleted("b"))
    assert len({one.undoing(bed)["initiator"] for one in disks}) == 1


ONCE: Mapping[Any, Callable[[FaultShell], str]] = {
    PathDaemonRestarted: lambda shell: shell.restart(Daemon.PATHS),
    PathDaemonReconfigured: lambda shell: shell.reconfigure(),
    Rescan: lambda shell: shell.rescan(),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_what_is_done_again_and_again_is_counted_where_it_is_done(kind: Any) -> None:
    """Once it has succeeded, in a file that is gone when the fault is."""
    fault = kind()
    bed, machine, asked = lab("1\n")
    fault.inject(bed)
    (script,) = scripts(machine)
    assert script.startswith(ONCE[kind](bed.initiators["initiator"].for_faults))
    assert script.endswith(f"\nmkdir -p /run/pathproof/faults\necho >>{fault.file}")
    sample = means_of(fault, bed)[fault.name]
    assert (sample.missing, sample.count, sample.grows) == ("", 1, True)
    assert fault.file in scripts(machine)[-1]
    (undone,) = fault.undoing(bed).values()
    removed = undone.rpartition("rm -f ")[2].rstrip("*")
    assert fault.file.startswith(removed)
    assert set(asked) == {"initiator"}
    assert len({cast(Any, one)().file for one in REPEATED}) == len(REPEATED)


@pytest.mark.parametrize("kind", REPEATED)
def test_what_was_never_done_is_not_confirmed(kind: Any) -> None:
    bed, *_ = lab("0\n")
    with pytest.raises(FaultError, match="was not done"):
        kind().confirm(bed)
    bed, *_ = lab("1\n")
    kind().confirm(bed)
    with pytest.raises(FaultError, match="is not healed"):
        kind().confirm_healed(bed)


@pytest.mark.parametrize("kind", REPEATED)
def test_it_is_done_until_the_fault_is_over(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds after each time; what lasts takes several."""
    monkeypatch.setattr("harness.faults.repeated._EVERY_S", 0.001)
    over, left = threading.Event(), iter([False, False, True])

    def answer(_: Asked) -> Answer:
        if next(left):
            over.set()
        return Answer()

    bed, *_ = lab()
    machine = ScriptedMachine(answer)
    found = cast(Any, bed)
    found.machine = lambda _: machine
    kind().go_on(bed, over)
    assert len(machine.asked) == 3
    kind().go_on(bed, over)
    assert len(machine.asked) == 3
    monkeypatch.undo()
    assert kind().lasts_s == 8


def shown(a: str, b: str = "running") -> str:
    """Both paths with the states of their disks; "" for one that is not there."""
    sessions, devices, states = [], [], []
    for number, (name, state) in enumerate((("sda", a), ("sdb", b))):
        head = f"session{number}|{TWO.target_iqn}|LOGGED_IN|172.16.{number}.1|3260|default|1|1|1|"
        sessions.append(f"{head}|{name}|8:{number}|naa.600" if state else f"{head}|||")
        if state:
            devices.append(f"device|{name}|8:{number}|2048||||3600||naa.600")
            states.append(f"{name} {state}")
    lines = [*sessions, "--", *devices, "== states of disks", *states]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("fault", "shell"),
    [
        (DiskOffline("a"), "echo offline >/sys/block/sda/device/state\n"),
        (DiskDeleted("a"), "echo 1 >/sys/block/sda/device/delete\n"),
        (DiskOffline("b"), "echo offline >/sys/block/sdb/device/state\n"),
    ],
)
def test_the_disk_of_a_path_is_the_one_that_it_has_now(fault: Fault, shell: str) -> None:
    bed, machine, asked = lab(shown("running"))
    fault.inject(bed)
    assert scripts(machine)[-1] == shell
    assert asked == ["initiator", "initiator"]
    assert fault.hits(TWO) == (fault.where,)


def test_a_path_without_a_disk_has_none_to_lose() -> None:
    bed, machine, _ = lab(shown(""))
    with pytest.raises(FaultError, match="path a has no disk"):
        DiskDeleted("a").inject(bed)
    assert len(machine.asked) == 1


@pytest.mark.parametrize(
    ("fault", "told", "missing"),
    [
        (DiskOffline("a"), shown("offline"), ""),
        (DiskOffline("a"), shown("running"), "sda of path a is running"),
        (DiskOffline("a"), shown("transport-offline"), "sda of path a is transport-offline"),
        (DiskOffline("a"), shown(""), "path a has no disk"),
        (DiskDeleted("a"), shown(""), ""),
        (DiskDeleted("a"), shown("offline"), "path a has disk sda"),
    ],
)
def test_what_is_not_as_the_fault_left_it_is_missing(fault: Fault, told: str, missing: str) -> None:
    bed, *_ = lab(told)
    assert means_of(fault, bed)[fault.name].missing == missing
    if missing:
        with pytest.raises(TimedOut):
            fault.confirm(bed)
    else:
        fault.confirm(bed)


@pytest.mark.parametrize("fault", [DiskOffline("a"), DiskDeleted("a")])
def test_a_disk_is_back_once_it_runs(fault: Fault) -> None:
    """One for each LUN."""
    fault.confirm_healed(lab(shown("running"))[0])
    for told in (shown("offline"), shown("")):
        with pytest.raises(TimedOut, match="the disks of path a in use again"):
            fault.confirm_healed(lab(told)[0])
    bed, *_ = lab(shown("running"))
    initiator: Any = bed.initiators["initiator"]
    initiator.attachments *= 2
    with pytest.raises(TimedOut):
        fault.confirm_healed(bed)


ALLOWANCES = InForce(
    login_timeout=Setting("login_timeout", 3, "record"),
    polling=Setting("polling_interval", 1, "multipathd"),
    sessions=2,
)


def record(
    fault: Fault, *, recovery_s: int = 2, topology: Topology = TWO, on: str = "initiator"
) -> FaultRecord:
    """Healed after 8 s, which took one."""
    over = (NS_PER_S, 2 * NS_PER_S, 8 * NS_PER_S, 9 * NS_PER_S, 7 * NS_PER_S)
    sessions = [session_settings(p.name, 5, 5, recovery_s) for p in topology.of(on).paths]
    return Injection(fault, topology, *over).on(on).record(sessions, 1.0, ALLOWANCES)


def terms(budget: Any) -> dict[str, float]:
    return {term.name: term.seconds for term in budget.terms}


@pytest.mark.parametrize(
    "kind", [PathDaemonKilled, PathDaemonRestarted, PathDaemonReconfigured, Rescan]
)
def test_what_nobody_should_notice_has_the_slack_alone(kind: Callable[[], Fault]) -> None:
    """It hits no path, so that one that is lost is lost without a fault."""
    told = record(kind())
    assert (told.paths, told.limping, told.effects, told.io_stops) == ((), (), (), False)
    assert terms(told.budget) == terms(told.returning) == {"slack": 1.0}
    assert not told.felt_at_healing
    assert ALLOWANCES.recovery_terms(Effect.UNNOTICED) == ()


def test_a_login_daemon_that_is_back_ends_each_session_in_turn() -> None:
    """I/O may meet each of them, and then no path until one is looked at. Until then: nothing."""
    told = record(LoginDaemonKilled())
    assert told.paths == told.limping == ("a", "b")
    assert not told.io_stops
    assert told.felt_at_healing
    assert told.felt_from_ns == 7 * NS_PER_S
    looks = {"polling_interval": 1.0, "checker tick": 1.0, "slack": 1.0}
    assert terms(told.budget) == {"recovery_tmo of 2 sessions": 4.0} | looks
    assert terms(told.returning) == looks
    assert all(term.why and term.layers for term in told.budget.terms)


def test_sessions_that_never_give_up_leave_that_without_a_limit() -> None:
    (term,) = record(LoginDaemonKilled(), recovery_s=-1).budget.unlimited
    assert "fast_io_fail_tmo" in term.cure


def test_to_another_initiator_a_daemon_is_nothing() -> None:
    told = record(LoginDaemonKilled("second"), topology=INITIATORS)
    assert (told.paths, terms(told.budget)) == ((), {"slack": 1.0})
    assert not told.felt_at_healing
    assert record(LoginDaemonKilled("second"), topology=INITIATORS, on="second").felt_at_healing


@pytest.mark.parametrize(
    ("fault", "new"), [(DiskOffline("a"), {}), (DiskDeleted("a"), {"new disk": 5.0})]
)
def test_a_disk_that_is_out_of_use_is_noticed_at_once(fault: Fault, new: dict[str, float]) -> None:
    """And its session needs no login; a disk that is found anew has to be looked at first."""
    told = record(fault)
    assert (told.paths, told.limping, told.effects) == (("a",), (), (Effect.DETACHED,))
    assert terms(told.budget) == {"device state": 0.0, "slack": 1.0}
    looks = {"polling_interval": 1.0, "checker tick": 1.0, "slack": 1.0}
    assert terms(told.returning) == new | looks


def test_a_path_that_is_lost_while_a_daemon_is_away_has_its_own_budget() -> None:
    """All of it is felt from its injection on."""
    told = record(Together((PathDaemonKilled(), LinkDown("a"))))
    assert (told.paths, told.limping) == (("a",), ())
    assert told.budget == record(LinkDown("a")).budget
    both = record(Together((LoginDaemonKilled(), LinkDown("a"))))
    assert (both.paths, both.limping) == (("a", "b"), ("b",))
    assert not both.felt_at_healing


def test_daemons_of_an_existing_initiator_are_left_alone() -> None:
    """They serve others, too. Sessions and disks of the testbed are its own."""
    existing = Config.model_validate(
        {"target": {"kind": "external", "wwid": WWID}, "initiator": {"machine": "local"}}
    )
    for kind in (LoginDaemonKilled, PathDaemonKilled, PathDaemonRestarted, PathDaemonReconfigured):
        assert kind().needs == {Means.INITIATOR_DAEMONS}
        assert "exclusive use of the initiator's daemons" in lacking(existing, kind().needs)
    for fault in (Rescan(), DiskOffline("a"), DiskDeleted("a")):
        assert not lacking(existing, fault.needs)
