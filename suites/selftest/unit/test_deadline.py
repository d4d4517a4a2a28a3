"""Waiting, on a clock that the tests turn by hand."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import deadline as module
from harness.deadline import Deadline, poll
from harness.errors import TimedOut


@dataclass
class Clock:
    """Stands in for the time module: sleeping is what makes time pass."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until somebody sleeps."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def ready_after(looks: int) -> Callable[[], str | None]:
    """A probe that sees nothing before it has looked `looks` times."""
    seen = iter([None] * (looks - 1) + ["ready"])
    return lambda: next(seen)


def test_a_deadline_counts_down_and_stays_at_zero(clock: Clock) -> None:
    """It expires at the very moment, and what remains is never negative."""
    deadline = Deadline.after(5)
    clock.sleep(3)
    assert (deadline.remaining_s, deadline.expired) == (2, False)
    clock.sleep(2)
    assert (deadline.remaining_s, deadline.expired) == (0, True)
    clock.sleep(9)
    assert (deadline.remaining_s, deadline.expired) == (0, True)


def test_a_deadline_cannot_be_moved(clock: Clock) -> None:
    """What it is passed to must not be able to give itself more time."""
    deadline = Deadline.after(5)
    with pytest.raises(FrozenInstanceError):
        deadline.expires_at = clock.now + 99  # type: ignore[misc]  # the very thing refused


def test_what_is_there_already_is_not_waited_for(clock: Clock) -> None:
    """The first look comes before the first sleep."""
    assert poll(ready_after(1), what="it", deadline=Deadline.after(5)) == "ready"
    assert clock.slept == []


def test_polling_goes_on_until_the_probe_sees_something(clock: Clock) -> None:
    """With one pause between two looks."""
    assert poll(ready_after(4), what="it", deadline=Deadline.after(5), every_s=0.5) == "ready"
    assert clock.slept == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("falsy", [0, "", ()])
def test_an_empty_result_is_a_result(clock: Clock, falsy: object) -> None:
    """Only None and False mean "not yet": a count of zero or an empty list may be the answer."""
    assert poll(lambda: falsy, what="it", deadline=Deadline.after(5)) == falsy
    assert clock.slept == []


def test_false_means_not_yet(clock: Clock) -> None:
    """A plain condition can be polled so."""
    assert poll(lambda: clock.now >= 1002, what="it", deadline=Deadline.after(5)) is True


def test_an_expired_deadline_still_allows_one_look(clock: Clock) -> None:
    """Whoever comes late may find that all is well."""
    deadline = Deadline.after(0)
    assert poll(ready_after(1), what="it", deadline=deadline) == "ready"


def test_the_last_look_comes_after_the_deadline(clock: Clock) -> None:
    """A machine that was ready at the last moment is not judged by an earlier look."""
    ready_at = clock.now + 5
    deadline = Deadline.after(5)
    assert poll(lambda: clock.now >= ready_at, what="it", deadline=deadline, every_s=3) is True
    assert clock.slept == [3, 2]


def test_a_slow_probe_gets_one_look_more(clock: Clock) -> None:
    """Its answer is from before the deadline even if it comes after it."""
    answers = iter([None, "ready"])

    def slow() -> str | None:
        clock.now += 60
        return next(answers)

    assert poll(slow, what="it", deadline=Deadline.after(5)) == "ready"


def test_giving_up_says_what_was_waited_for_and_what_was_there(clock: Clock) -> None:
    """With the time allowed, the last state and a way out."""
    with pytest.raises(TimedOut) as failure:
        poll(
            lambda: None,
            what="2 active paths",
            deadline=Deadline.after(20),
            last_seen=lambda: "1 active, 1 failed",
            hint="is the portal up?",
        )
    assert str(failure.value) == (
        "2 active paths: not within 20 s; last seen: 1 active, 1 failed\nhint: is the portal up?"
    )


def test_giving_up_without_anything_seen_says_no_more_than_that(clock: Clock) -> None:
    """No empty "last seen"."""
    with pytest.raises(TimedOut) as failure:
        poll(lambda: None, what="SSH", deadline=Deadline.after(3))
    assert str(failure.value) == "SSH: not within 3 s"


def test_what_a_probe_raises_is_not_swallowed(clock: Clock) -> None:
    """An error is not "not yet"."""
    with pytest.raises(ZeroDivisionError):
        poll(lambda: 1 / 0, what="it", deadline=Deadline.after(5))
    assert clock.slept == []


@given(allowed_s=st.floats(0, 100), every_s=st.floats(0.05, 30))
def test_polling_never_outlasts_its_deadline(allowed_s: float, every_s: float) -> None:
    """It gives up at the deadline: not before, and not a pause later."""
    clock = Clock(now=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        with pytest.raises(TimedOut):
            poll(lambda: None, what="it", deadline=Deadline.after(allowed_s), every_s=every_s)
    assert clock.now == pytest.approx(allowed_s)
    assert all(pause <= every_s for pause in clock.slept)
