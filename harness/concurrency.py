"""Do independent things at once, and lose none of their failures; wait for none too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from harness.errors import TimedOut

T = TypeVar("T")


def side_by_side(*actions: Callable[[], T]) -> list[T]:
    """Run every action in a thread of its own and return their results in order.

    Steps begun inside belong to the step around the call. All actions are waited for; one
    failure is raised as it is, several as an `ExceptionGroup`. An interrupt does not wait: it
    is raised at once, and the threads end when what they use is taken from them.
    """
    pool = ThreadPoolExecutor(max_workers=len(actions) or 1)
    futures = [pool.submit(copy_context().run, action) for action in actions]
    try:
        wait(futures)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    failures = [error for future in futures if (error := future.exception()) is not None]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup("several things failed at once", failures)
    return [future.result() for future in futures]


def within(seconds: float, action: Callable[[], T], *, what: str) -> T:
    """The result of `action`, which runs in a thread of its own.

    Raises TimedOut if it does not end in time: its thread goes on, and nobody waits for it, not
    even at the end of the process. For calls that know no timeout of their own.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # it is raised where somebody waits for it
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name=what, daemon=True).start()
    if not wait([future], seconds).done:
        raise TimedOut(f"{what}: not within {seconds:.0f} s")
    return future.result()
