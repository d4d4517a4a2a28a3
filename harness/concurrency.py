"""Do independent things at once, and lose none of their failures; wait for none too long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

from harness.errors import TimedOut, as_one

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


def side_by_side(*actions: Callable[[], T]) -> list[T]:
    """Run every action in a thread of its own and return their results in order.

    Steps begun inside belong to the step around the call. All actions are waited for; one
    failure is raised as it is, several as `as_one` has them. An interrupt does not wait: it is
    raised at once, and the threads end when what they use is taken from them.
    """
    pool = ThreadPoolExecutor(max_workers=len(actions) or 1)
    futures = [pool.submit(copy_context().run, action) for action in actions]
    try:
        wait(futures)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    failures = [error for future in futures if (error := future.exception()) is not None]
    if failures:
        raise as_one(failures)
    return [future.result() for future in futures]


def both(one: Callable[[], A], other: Callable[[], B]) -> tuple[A, B]:
    """The results of two actions that run side by side, and may be of different types."""
    ones: list[A] = []
    others: list[B] = []
    side_by_side(lambda: ones.append(one()), lambda: others.append(other()))
    return ones[0], others[0]


def within(seconds: float, action: Callable[[], T], *, what: str) -> T:
    """The result of `action`, which runs in a thread of its own.

    Raises TimedOut if it does not end in time: its thread goes on, and is not waited for, not
    even at the end of the process. For calls that know no timeout of their own.
    """
    future: Future[T] = Future()

    _start(action, future, name=what)
    if not wait([future], seconds).done:
        raise TimedOut(f"{what}: not within {seconds:.0f} s")
    return future.result()


@contextmanager
def beside(action: Callable[[threading.Event], None], *, name: str) -> Iterator[None]:
    """Run `action` in a thread of its own for the length of the block.

    At the end of the block the event is set, and the thread is waited for. What the thread raised
    is raised then, together with what the block raised, if both did. An interrupt is passed on as
    it is.
    """
    over = threading.Event()
    future: Future[None] = Future()
    _start(lambda: action(over), future, name=name)
    try:
        yield
    except Exception as error:
        over.set()
        if (failure := future.exception()) is not None:
            raise as_one([error, failure]) from None
        raise
    finally:
        over.set()
        wait([future])
    future.result()


def _start(action: Callable[[], T], future: Future[T], *, name: str) -> None:
    """Have `action` run in a thread that nothing waits for; what becomes of it is in `future`."""

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name=name, daemon=True).start()
