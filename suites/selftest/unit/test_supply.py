"""Which tests share a testbed; stand-ins are lent, since only their coming and going counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from harness.config import Config
from harness.errors import BrokenTestbed, HypervisorError, TimedOut, as_one
from harness.provision import supply as lease
from harness.provision.supply import Testbeds


@dataclass(eq=False)
class StandIn:
    """It has as much of a testbed as lending one needs."""

    number: int
    broken: bool = False
    times_made_ready: int = 0

    def make_ready(self) -> None:
        self.times_made_ready += 1
        if self.broken:
            raise TimedOut("the paths do not come back")


@dataclass
class Supply:
    """Makes stand-ins, and knows which of them are there."""

    alive: list[int] = field(default_factory=list)
    made: int = 0
    failure: BaseException | None = None
    someone_waits: bool = False

    @contextmanager
    def testbed(self) -> Iterator[StandIn]:
        if self.failure:
            raise self.failure
        self.made += 1
        number = self.made
        self.alive.append(number)
        yield StandIn(number)
        self.alive.remove(number)


@pytest.fixture
def supply(monkeypatch: pytest.MonkeyPatch) -> Supply:
    supply = Supply()

    @contextmanager
    def provisioner(_: Config) -> Iterator[Supply]:
        yield supply

    monkeypatch.setattr("harness.provision.provisioner.provisioner", provisioner)
    return supply


@pytest.fixture
def testbeds(supply: Supply) -> Iterator[Testbeds]:
    with Testbeds(Config()) as testbeds:
        yield testbeds
    assert supply.alive == []


def test_without_an_owner_each_block_has_its_own(testbeds: Testbeds, supply: Supply) -> None:
    """It is gone before the next is made, also after a failure: two would not fit."""

    def failing_test() -> None:
        with testbeds.lent():
            assert supply.alive == [1]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_test()
    assert supply.alive == []
    with testbeds.lent():
        assert supply.alive == [2]


def test_an_owner_gets_the_same_again_made_whole(testbeds: Testbeds, supply: Supply) -> None:
    with testbeds.lent("module") as first:
        assert first.times_made_ready == 0  # type: ignore[attr-defined]  # a stand-in; it is new
    with testbeds.lent("module") as again:
        assert again is first
        assert again.times_made_ready == 1  # type: ignore[attr-defined]  # a stand-in
    with testbeds.lent("another"):
        assert supply.alive == [2]


def test_one_that_cannot_be_mended_is_replaced(testbeds: Testbeds, supply: Supply) -> None:
    with testbeds.lent("session") as first:
        first.broken = True  # type: ignore[assignment]  # a stand-in
    with testbeds.lent("session") as second:
        assert second is not first
        assert supply.alive == [2]


def test_a_test_that_is_measured_again_gets_a_new_one(testbeds: Testbeds, supply: Supply) -> None:
    """Also where tests share it; those that follow share the new one."""
    for number in (1, 2, 2):
        if number > supply.made > 0:
            testbeds.renew()
        with testbeds.lent("session"):
            assert supply.alive == [number]


def test_a_failure_to_make_one_is_told_at_once_from_then_on(
    testbeds: Testbeds, supply: Supply
) -> None:
    """Twenty tests must not wait for twenty timeouts."""
    supply.failure = HypervisorError("no KVM, no QEMU")
    with pytest.raises(HypervisorError), testbeds.lent():
        pass
    supply.failure = None
    with pytest.raises(BrokenTestbed, match="no testbed: no KVM, no QEMU"), testbeds.lent():
        pass
    assert supply.made == 0


def test_others_get_their_turn_between_two_tests(
    testbeds: Testbeds, supply: Supply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once, since a testbed that tests share may take a minute to make."""
    supply.someone_waits = True
    with testbeds.lent("session"):
        pass
    with testbeds.lent("session"):
        assert supply.alive == [1]
    monkeypatch.setattr(lease, "_TURN_S", 0.0)
    with testbeds.lent("session"):
        assert supply.alive == [2]
    supply.someone_waits = False
    with testbeds.lent("session"):
        assert supply.alive == [2]


def test_a_programming_error_is_not_remembered_as_a_broken_lab(
    testbeds: Testbeds, supply: Supply
) -> None:
    """One that came with a failure of the lab, or before it, is not remembered, either."""
    for failure in (TypeError("x"), as_one([TimedOut("a"), TypeError("x")]), hiding(TypeError())):
        supply.failure = failure
        with pytest.raises(type(failure)), testbeds.lent():
            pass
    supply.failure = None
    with testbeds.lent():
        assert supply.alive == [1]


def test_a_testbed_on_which_a_program_erred_is_not_replaced(
    testbeds: Testbeds, supply: Supply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error would be lost, and come again."""

    def make_ready(_: StandIn) -> None:
        raise hiding(TypeError("x"))

    with testbeds.lent("session"):
        pass
    monkeypatch.setattr(StandIn, "make_ready", make_ready)
    with pytest.raises(TimedOut), testbeds.lent("session"):
        pass
    assert supply.made == 1
    monkeypatch.undo()


def hiding(error: Exception) -> TimedOut:
    """A failure of the lab that came up in the clean-up after `error`."""
    failure = TimedOut("the paths do not come back")
    failure.__context__ = error
    return failure
