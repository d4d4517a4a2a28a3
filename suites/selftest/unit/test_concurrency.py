"""Things done at once."""

import threading
from collections.abc import Callable
from contextvars import ContextVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.concurrency import beside, side_by_side, within
from harness.errors import HarnessError, TimedOut
from harness.steps import Spent, Step, step


def returning(value: int) -> Callable[[], int]:
    """An action that returns `value`."""
    return lambda: value


def raising(error: BaseException) -> Callable[[], int]:
    """An action that raises `error`."""

    def action() -> int:
        raise error

    return action


@given(st.lists(st.integers(), max_size=8))
def test_results_come_in_the_order_of_the_actions(values: list[int]) -> None:
    """Whichever ends first; nothing to do gives nothing."""
    assert side_by_side(*(returning(value) for value in values)) == values


def test_actions_really_run_at_the_same_time() -> None:
    """Each waits here for all the others to arrive."""
    together = threading.Barrier(4, timeout=10)
    assert sorted(side_by_side(*[together.wait] * 4)) == [0, 1, 2, 3]


def test_one_failure_is_raised_as_it_is() -> None:
    """Its type is what the caller catches."""
    error = OSError("no such device")
    with pytest.raises(OSError, match="no such device") as caught:
        side_by_side(returning(1), raising(error), returning(2))
    assert caught.value is error


def test_several_failures_are_all_raised() -> None:
    """None hides another."""
    first, second = OSError("a"), RuntimeError("b")
    with pytest.raises(ExceptionGroup) as caught:
        side_by_side(raising(first), returning(1), raising(second))
    assert caught.value.exceptions == (first, second)


def test_a_failure_does_not_cut_the_others_short() -> None:
    """They are waited for, so that nothing runs on behind the caller's back."""
    failed, finished = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("early")

    def finish() -> None:
        assert failed.wait(10)
        finished.set()

    with pytest.raises(OSError, match="early"):
        side_by_side(fail, finish)
    assert finished.is_set()


def test_steps_begun_inside_belong_to_the_step_around_the_call() -> None:
    """The report shows them there, and the bill of time counts them there."""

    def work() -> Step:
        with step("inside") as inside:
            return inside

    with step("around", Spent.CONFIGURATION) as around:
        inner = side_by_side(work, work)
    assert [one.parent for one in inner] == [around, around]
    assert [one.spent_on for one in inner] == [Spent.CONFIGURATION] * 2


def test_actions_do_not_disturb_each_others_context() -> None:
    """What one sets, neither the others nor the caller see."""
    mark: ContextVar[int] = ContextVar("mark", default=0)

    def set_mark() -> int:
        seen = mark.get()
        mark.set(seen + 1)
        return seen

    assert side_by_side(set_mark, set_mark, set_mark) == [0, 0, 0]
    assert mark.get() == 0


def test_what_ends_in_time_is_as_if_called_directly() -> None:
    """Its result, or its failure."""
    assert within(10, returning(7), what="counting") == 7
    with pytest.raises(OSError, match="no such device"):
        within(10, raising(OSError("no such device")), what="reading")


def test_what_does_not_end_in_time_is_left_behind() -> None:
    """It does not hold up the end of the process."""
    ending = threading.Event()
    with pytest.raises(TimedOut, match="an answer: not within 0 s"):
        within(0.05, ending.wait, what="an answer")
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "an answer"]
    assert thread.daemon
    ending.set()
    thread.join(10)


def test_several_failures_of_the_lab_are_caught_as_one() -> None:
    """A group with a programming error in it is not caught."""
    broken = TimedOut("a")
    with pytest.raises(HarnessError) as caught:
        side_by_side(raising(broken), raising(TimedOut("b")))
    assert str(caught.value) == "a\nb"
    with pytest.raises(ExceptionGroup) as mixed:
        side_by_side(raising(broken), raising(TypeError("b")))
    assert not isinstance(mixed.value, HarnessError)


def test_what_runs_beside_a_block_ends_with_it() -> None:
    """It has begun by the time that the block begins."""
    ran = threading.Event()

    def action(over: threading.Event) -> None:
        ran.set()
        assert over.wait(10)

    with beside(action, name="beside"):
        assert ran.wait(10)
    assert "beside" not in {thread.name for thread in threading.enumerate() if thread.is_alive()}


def test_what_breaks_beside_a_block_breaks_the_block() -> None:
    """A thread that dies in silence has watched nothing."""
    with pytest.raises(TypeError, match="on purpose"), beside(failing, name="beside"):
        pass


def test_what_breaks_beside_a_block_that_breaks_is_told_as_well() -> None:
    with pytest.raises(ExceptionGroup) as caught, beside(failing, name="beside"):
        raise TimedOut("no answer")
    assert [type(one) for one in caught.value.exceptions] == [TimedOut, TypeError]


def test_an_interrupt_stays_an_interrupt() -> None:
    """Whatever breaks beside it."""
    with pytest.raises(KeyboardInterrupt), beside(failing, name="beside"):
        raise KeyboardInterrupt


def failing(_over: threading.Event) -> None:
    raise TypeError("on purpose")
