"""I/O that does not end: when what is done, with stand-ins for everything that takes time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from harness.errors import CutShort, HypervisorError, MachineError, VerdictFailed
from harness.steps import Attachment, Listener, Step, listening
from harness.testbed import watchdog
from harness.testbed.watchdog import (
    DYING_S,
    EVIDENCE_S,
    LAST_S,
    QUEUEING_S,
    READ_BACK_S,
    Watchdog,
)


def test_the_bounds_add_up_to_a_minute() -> None:
    """Each thing has its time before the next begins, and the last is over after 60 s."""
    instants = (0, EVIDENCE_S, QUEUEING_S, READ_BACK_S, LAST_S)
    assert sorted(instants) == list(instants)
    # Evidence of a read-back that hangs comes before the rest is put together.
    assert READ_BACK_S < LAST_S
    assert LAST_S + EVIDENCE_S + DYING_S <= 60


def test_a_read_back_leaves_time_for_evidence(lab: Lab) -> None:
    """If the evidence is there, it may take as long again."""
    dog = lab.watchdog(0)
    assert dog.left_to_read() == pytest.approx(READ_BACK_S - EVIDENCE_S, abs=1)
    dog.collect_evidence()
    assert dog.left_to_read() == pytest.approx(READ_BACK_S, abs=1)
    assert dog.left_to_measure() == pytest.approx(LAST_S, abs=1)


def test_a_block_that_ends_while_evidence_is_collected_keeps_its_machines(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was late, but it did end."""
    monkeypatch.setattr(watchdog, "LAST_S", 0.0)
    collecting, over = threading.Event(), threading.Event()

    def gather() -> Mapping[str, str]:
        collecting.set()
        assert over.wait(10)
        return {}

    monkeypatch.setattr(lab, "gather", gather)
    dog = lab.watchdog(0)
    with dog.watching():
        assert collecting.wait(10)
        threading.Timer(0.3, over.set).start()
    assert lab.told == []
    assert not dog.powered_off


@dataclass
class Lab:
    """What a watchdog asks for and does; `told` is every call, in order."""

    is_alive: bool = True
    told: list[str] = field(default_factory=list)
    off: threading.Event = field(default_factory=threading.Event)
    refusal: HypervisorError | None = None

    def gather(self) -> Mapping[str, str]:
        self.told.append("evidence")
        return {"console": "panic"}

    def silent(self) -> str:
        return "" if self.is_alive else "the initiator"

    def power_off(self) -> None:
        self.told.append("power off")
        self.off.set()
        if self.refusal:
            raise self.refusal

    def watchdog(self, within_s: float) -> Watchdog:
        return Watchdog(within_s, gather=self.gather, silent=self.silent, power_off=self.power_off)


class Attached(Listener):
    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        self.texts[attachment.name] = attachment.content


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def attached() -> Iterator[Attached]:
    with listening(listener := Attached()):
        yield listener


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_LOOK_INTERVAL_S", 0.01)


def test_waits_end_at_the_deadline_and_no_later_than_they_would(lab: Lab) -> None:
    dog = lab.watchdog(100)
    assert dog.left(at_most_s=7) == 7
    assert 99 < dog.left() <= 100
    assert 119 < dog.left(20) <= 120
    assert not dog.expired


def test_when_all_is_lost_the_deadline_is_now_but_never_later(lab: Lab) -> None:
    dog = lab.watchdog(100)
    dog.expire()
    assert dog.expired
    assert dog.left() == 0
    assert 19 < dog.left(20) <= 20
    over = lab.watchdog(-10)
    over.expire()
    assert 9 < over.left(20) <= 10


def test_evidence_is_collected_once_and_before_faults_are_healed(
    lab: Lab, attached: Attached
) -> None:
    dog = lab.watchdog(0)

    def block() -> None:
        with dog.watching():
            try:
                raise dog.cut_short("no path came back")
            finally:
                lab.told.append("heal")

    with pytest.raises(CutShort, match="no path came back; the 0 s that this I/O was given"):
        block()
    dog.collect_evidence()
    assert lab.told == ["evidence", "heal"]
    assert attached.texts == {"console": b"panic"}


def test_a_block_that_ends_in_time_leaves_no_evidence(lab: Lab, attached: Attached) -> None:
    with lab.watchdog(100).watching():
        time.sleep(0.05)
    assert lab.told == []
    assert attached.texts == {}


def test_what_still_waits_long_after_the_deadline_loses_its_machines(
    lab: Lab, attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with an error of any kind; what is told is what was done, and why."""
    monkeypatch.setattr(watchdog, "LAST_S", 0.2)

    def block() -> None:
        with lab.watchdog(0).watching():
            assert lab.off.wait(10)
            raise HypervisorError("the domain is gone")

    with pytest.raises(MachineError, match="every VM of the testbed was powered off") as loss:
        block()
    assert isinstance(loss.value.__cause__, HypervisorError)
    assert lab.told == ["evidence", "power off"]
    assert attached.texts == {"console": b"panic"}


def test_an_initiator_that_is_silent_loses_its_power_at_once(lab: Lab) -> None:
    lab.is_alive = False

    def block() -> None:
        with lab.watchdog(100).watching():
            assert lab.off.wait(10)

    with pytest.raises(MachineError, match="the initiator does not answer; every VM"):
        block()
    assert lab.told == ["evidence", "power off"]


def test_after_the_deadline_an_answer_is_not_waited_for(lab: Lab) -> None:
    """It might come later than the power is to be cut."""
    lab.is_alive = False
    with lab.watchdog(0).watching():
        time.sleep(0.1)
    assert lab.told == []


def test_machines_that_cannot_be_powered_off_are_told_of(lab: Lab) -> None:
    lab.is_alive, lab.refusal = False, HypervisorError("QEMU is still there")

    def block() -> None:
        with lab.watchdog(100).watching():
            assert lab.off.wait(10)
            time.sleep(0.1)

    with pytest.raises(MachineError, match="powering off failed: QEMU is still there"):
        block()


def test_a_programming_error_in_powering_off_is_heard_of(lab: Lab) -> None:
    """Also where an error of the lab hides it."""
    lab.is_alive, lab.refusal = False, HypervisorError("QEMU is still there")
    lab.refusal.__context__ = TypeError("x")

    def block() -> None:
        with lab.watchdog(100).watching():
            assert lab.off.wait(10)

    with pytest.raises(HypervisorError) as raised:
        block()
    assert raised.value is lab.refusal


def test_a_verdict_stays_a_verdict(lab: Lab) -> None:
    """Only a power-off makes an error the lab's."""
    with pytest.raises(VerdictFailed), lab.watchdog(0).watching():
        raise VerdictFailed("I/O errors")


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("assert 0 > 1"),
        EOFError(),
        ConnectionResetError(),
        ExceptionGroup("two", [AssertionError(), MachineError("silent")]),
    ],
    ids=repr,
)
def test_what_a_loss_of_power_leads_to_in_a_test_says_nothing_of_the_storage(
    lab: Lab, error: Exception
) -> None:
    lab.is_alive = False

    def block() -> None:
        with lab.watchdog(100).watching():
            assert lab.off.wait(10)
            raise error

    with pytest.raises(MachineError, match="the initiator does not answer") as loss:
        block()
    assert loss.value.__cause__ is error


@pytest.mark.parametrize("error", [TypeError("x"), VerdictFailed("I/O errors")], ids=repr)
@pytest.mark.parametrize("hidden_by", [None, MachineError("silent"), AssertionError()], ids=repr)
def test_a_defect_or_verdict_stays_one_though_the_machines_are_off(
    lab: Lab, error: Exception, hidden_by: Exception | None
) -> None:
    """It is no consequence of that, also where an error of the clean-up hides it."""
    lab.is_alive = False

    def block() -> None:
        with lab.watchdog(100).watching():
            assert lab.off.wait(10)
            try:
                raise error
            finally:
                if hidden_by is not None:
                    raise hidden_by

    with pytest.raises(type(hidden_by or error)) as raised:
        block()
    assert raised.value is (hidden_by or error)


def test_what_goes_wrong_in_collecting_evidence_costs_no_power_off(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the I/O would hang for ever. The watchdog's own error is told, too."""

    def gather() -> Mapping[str, str]:
        raise TypeError("x")

    lab.is_alive = False
    monkeypatch.setattr(lab, "gather", gather)
    with pytest.raises(TypeError), lab.watchdog(100).watching():
        assert lab.off.wait(10)
    assert lab.told == ["power off"]
