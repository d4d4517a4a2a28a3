"""Who is to blame: derived from what was raised, and when."""

from __future__ import annotations

import pytest

from harness.errors import (
    CouldNotTell,
    FaultError,
    HarnessError,
    SeveralFailed,
    TimedOut,
    VerdictFailed,
)
from harness.reporting.blame import Blame, blame_of, describe

STORAGE, LAB, DEFECT, UNKNOWN = Blame


@pytest.mark.parametrize(
    ("error", "during_call", "verdict"),
    [
        (VerdictFailed("lost data"), True, STORAGE),
        (VerdictFailed("lost data"), False, STORAGE),
        (AssertionError("in the test"), True, STORAGE),
        (AssertionError("in a fixture"), False, LAB),
        (CouldNotTell("blind"), True, UNKNOWN),
        (HarnessError("broken"), True, LAB),
        (TimedOut("broken"), False, LAB),
        (OSError("disk full"), True, LAB),
        (KeyError("a defect of the harness"), True, DEFECT),
        (KeyError("a defect of the harness"), False, DEFECT),
        (
            ExceptionGroup("g", [FaultError("x"), ExceptionGroup("h", [TypeError("y")])]),
            True,
            DEFECT,
        ),
        (ExceptionGroup("g", [TypeError("x"), VerdictFailed("y")]), True, STORAGE),
        (ExceptionGroup("g", [FaultError("x"), VerdictFailed("y")]), False, STORAGE),
        (ExceptionGroup("g", [ExceptionGroup("h", [VerdictFailed("y")])]), True, STORAGE),
        (ExceptionGroup("g", [FaultError("x"), CouldNotTell("y")]), True, LAB),
        (ExceptionGroup("g", [CouldNotTell("x"), CouldNotTell("y")]), True, UNKNOWN),
    ],
    ids=repr,
)
def test_verdict_of_an_error(error: BaseException, during_call: bool, verdict: Blame) -> None:
    """Proven faults of the storage stand; the lab outweighs not knowing."""
    assert blame_of(error, during_call=during_call) is verdict


def chained(*, suppressed: bool) -> FaultError:
    """A fault that could not be healed while a verdict was on its way."""
    error = FaultError("cannot heal")
    error.__context__ = VerdictFailed("lost data")
    error.__suppress_context__ = suppressed
    return error


def test_a_failed_clean_up_does_not_hide_what_was_proven() -> None:
    """The fault could not be healed after the verdict: the verdict stands."""
    assert blame_of(chained(suppressed=False), during_call=True) is STORAGE


def test_a_failed_clean_up_does_not_hide_a_programming_error() -> None:
    """It is no error of the lab, though the last thing that was raised is."""
    error = FaultError("cannot heal")
    error.__context__ = TypeError("on purpose")
    assert blame_of(error, during_call=True) is DEFECT


def test_a_suppressed_context_is_not_looked_at() -> None:
    """`raise … from None` says that the earlier error does not matter."""
    assert blame_of(chained(suppressed=True), during_call=True) is LAB


def test_errors_are_shown_in_their_own_words() -> None:
    """Those of the harness without type, with their hint; others with it; groups one by one."""
    assert describe(TimedOut("no answer", hint="look there")) == "no answer\nhint: look there"
    assert describe(KeyError("x")) == "KeyError: 'x'"
    group = ExceptionGroup("two", [VerdictFailed("a"), ValueError("b")])
    assert describe(group) == "two\n- a\n- ValueError: b"
    assert describe(SeveralFailed([TimedOut("a", hint="c"), TimedOut("b")])) == "a\nb\nhint: c"
