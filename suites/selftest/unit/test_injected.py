"""What becomes of a fault that cannot be confirmed, nor healed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import CutShort, FaultError, MachineError, TimedOut, defects
from harness.faults import injected
from harness.steps import Listener, listening


@dataclass
class Scripted:
    """A fault whose parts fail as they are told to."""

    confirming: BaseException | None = None
    healing: BaseException | None = None
    healed: int = 0
    name: str = "Scripted(a)"
    told: list[str] = field(default_factory=list)

    def inject(self, _lab: object) -> None: ...

    def confirm(self, _lab: object) -> None:
        if self.confirming is not None:
            raise self.confirming

    def heal(self, _lab: object) -> None:
        self.healed += 1
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
