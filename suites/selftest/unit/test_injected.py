"""A fault while it lasts, and what becomes of one that cannot be confirmed, nor healed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.deadline import Deadline, poll
from harness.errors import CutShort, FaultError, MachineError, TimedOut, defects
from harness.faults import Injection, injected
from harness.measurements import MeansSample
from harness.steps import Listener, listening


@dataclass
class Scripted:
    """A fault whose parts fail as they are told to."""

    confirming: BaseException | None = None
    healing: BaseException | None = None
    healed: int = 0
    name: str = "Scripted(a)"
    goes_on: bool = False
    sampling: list[Sequence[MeansSample] | Exception] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def parts(self) -> list[Scripted]:
        return [self]

    def inject(self, _lab: object) -> None: ...

    def confirm(self, _lab: object) -> None:
        if self.confirming is not None:
            raise self.confirming

    def go_on(self, _lab: object, over: threading.Event) -> None:
        if self.goes_on:
            self.told.append("begins")
            assert over.wait(10)
            self.told.append("ends")

    def sample_means(self, _lab: object) -> Sequence[MeansSample]:
        """What is next in `sampling`, and at its end always the last."""
        self.told.append("sample")
        seen = self.sampling.pop(0) if len(self.sampling) > 1 else self.sampling[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def heal(self, _lab: object) -> None:
        self.healed += 1
        self.told.append("heal")
        if self.healing is not None:
            raise self.healing

    def confirm_healed(self, _lab: object) -> None: ...


class Warnings(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warned(self, message: str) -> None:
        self.said.append(message)


def inject(fault: Scripted) -> None:
    lab: Any = SimpleNamespace(topology=None)
    scripted: Any = fault
    with injected(scripted, lab):
        pass


def test_a_fault_that_cannot_be_confirmed_is_healed() -> None:
    """What was wrong is told."""
    fault = Scripted(confirming=TimedOut("nothing was dropped"))
    with pytest.raises(TimedOut, match="nothing was dropped"):
        inject(fault)
    assert fault.healed == 1


def test_one_that_cannot_be_healed_either_says_both() -> None:
    fault = Scripted(TimedOut("nothing was dropped"), MachineError("no answer"))
    with pytest.raises(FaultError, match="could not be confirmed, nor healed: no answer"):
        inject(fault)


@pytest.mark.parametrize("failure", [TypeError("x"), KeyboardInterrupt()])
def test_a_clean_up_that_fails_hides_no_programming_error_and_no_interrupt(
    failure: BaseException,
) -> None:
    """Taken for a broken lab it would be tried again, and Ctrl-C would end nothing."""
    warnings = Warnings()
    with listening(warnings), pytest.raises(type(failure)):
        inject(Scripted(failure, MachineError("no answer")))
    assert warnings.said == ["Scripted(a) could not be confirmed, nor healed: no answer"]


@pytest.mark.parametrize("of", ["injection", "healing"])
def test_an_error_of_the_lab_hides_no_programming_error(of: str) -> None:
    """Neither one of the injection nor one of the healing."""
    confirming, healing = MachineError("nothing was dropped"), MachineError("no answer")
    fault: Scripted = Hiding(confirming, healing)
    if of == "injection":
        confirming.__context__ = TypeError("x")
        fault = Scripted(confirming, healing)
    with pytest.raises(MachineError) as raised:
        inject(fault)
    assert [type(one) for one in defects(raised.value)] == [TypeError]


class Hiding(Scripted):
    """One whose healing fails twice."""

    def heal(self, lab: object) -> None:
        try:
            raise TypeError("x")
        finally:
            super().heal(lab)


def test_a_fault_that_is_cut_short_is_noted_before_it_is_healed() -> None:
    """I/O is judged as it is, and paths that were lost by then were lost by the fault."""

    class CutOff(Scripted):
        def inject(self, _lab: object) -> None:
            raise CutShort("path b was not lost")

    noted: list[bool] = []
    fault, lab = cast(Any, CutOff()), cast(Any, SimpleNamespace(topology=None))
    with (
        pytest.raises(CutShort, match="path b was not lost"),
        injected(fault, lab, lambda injection: noted.append(bool(injection.healed_ns))),
    ):
        pytest.fail("the block was run")
    assert noted == [False, True]
    assert fault.healed == 1


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.faults.injection.SAMPLE_EVERY_S", 0.001)


def sampled(fault: Scripted, at_least: int) -> Injection:
    """Injected and healed, with so many samples in between."""
    lab, scripted = cast(Any, SimpleNamespace(topology=None)), cast(Any, fault)
    with injected(scripted, lab) as injection:
        poll(
            lambda: len(injection.means_samples) >= at_least,
            what="samples",
            deadline=Deadline.after(10),
            every_s=0.001,
        )
    return injection


@pytest.mark.usefixtures("often")
def test_a_faults_means_are_sampled_while_it_lasts() -> None:
    """Each of its parts, and never once healing has begun."""
    here = [MeansSample("one", count=3), MeansSample("other", missing="the rules are gone")]
    fault = Scripted(sampling=[here])
    began_ns = time.monotonic_ns()
    samples = sampled(fault, 4).means_samples
    assert [(one.part, one.missing, one.count) for one in samples[:2]] == [
        ("one", "", 3),
        ("other", "the rules are gone", None),
    ]
    times_ns = [one.at_ns for one in samples]
    assert began_ns < times_ns[0] <= times_ns[-1] < time.monotonic_ns()
    assert times_ns == sorted(times_ns)
    assert fault.told[-1] == "heal"


@pytest.mark.usefixtures("often")
def test_a_sample_that_fails_is_noted_and_others_follow() -> None:
    """What it would have shown is not known."""
    fault = Scripted(sampling=[MachineError("no answer"), [MeansSample("one")]])
    first, second, *_ = sampled(fault, 2).means_samples
    assert (first.part, first.unseen) == ("Scripted(a)", "no answer")
    assert (second.part, second.unseen) == ("one", "")


@pytest.mark.usefixtures("often")
def test_a_programming_error_in_a_sample_is_raised_once_the_fault_is_healed() -> None:
    fault = Scripted(sampling=[TypeError("x")])
    lab, scripted = cast(Any, SimpleNamespace(topology=None)), cast(Any, fault)
    with pytest.raises(TypeError), injected(scripted, lab):
        poll(
            lambda: "sample" in fault.told,
            what="a sample",
            deadline=Deadline.after(10),
            every_s=0.01,
        )
    assert fault.healed == 1


def test_what_a_fault_goes_on_doing_ends_before_it_is_healed() -> None:
    """Else it would be broken once more."""
    fault = Scripted(goes_on=True, sampling=[[]])
    lab, scripted = cast(Any, SimpleNamespace(topology=None)), cast(Any, fault)
    with injected(scripted, lab):
        poll(lambda: "begins" in fault.told, what="it", deadline=Deadline.after(10), every_s=0.001)
    assert fault.told == ["begins", "ends", "heal"]
