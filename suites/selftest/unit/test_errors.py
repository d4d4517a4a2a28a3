"""What went wrong, and whose fault it is."""

import inspect
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import errors
from harness.errors import (
    CommandFailed,
    CommandTimedOut,
    CouldNotTell,
    HarnessError,
    MachineError,
    SeveralFailed,
    TimedOut,
    VerdictFailed,
    as_one,
    cure,
    defects,
    describe_command,
    summary,
)

ALL_ERRORS = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, BaseException) and error.__module__ == errors.__name__
]

failed = CommandFailed(
    machine="initiator",
    argv=["iscsiadm", "-m", "node", "-o", "a b"],
    status=21,
    stdout="",
    stderr="iscsiadm: No records found\n",
    elapsed_s=0.25,
    hint="run the discovery first",
)


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_every_error_belongs_to_exactly_one_family(error: type[BaseException]) -> None:
    """A broken lab must never pass for broken storage, nor the other way round."""
    assert issubclass(error, HarnessError) != issubclass(error, VerdictFailed)


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_only_a_verdict_is_an_assertion(error: type[BaseException]) -> None:
    """Pytest calls an assertion a failure and anything else an error."""
    assert issubclass(error, AssertionError) == issubclass(error, VerdictFailed)


def test_what_led_to_a_clean_up_is_not_found_in_its_error() -> None:
    """Where it is raised again afterwards, only what the clean-up itself hides counts."""
    first, second = AssertionError("first"), TypeError("second")
    second.__context__ = first
    broken = MachineError("the clean-up failed")
    broken.__context__ = second
    assert defects(broken) == [second, first]
    assert defects(broken, beyond=first) == [second]
    assert defects(broken, beyond=second) == []


def test_not_being_able_to_tell_says_nothing_about_the_storage() -> None:
    """It is the lab that could not see."""
    assert issubclass(CouldNotTell, HarnessError)


def test_a_command_that_did_not_end_can_be_caught_as_a_timeout() -> None:
    """Whoever handles timeouts handles those of commands."""
    assert issubclass(CommandTimedOut, TimedOut)
    assert issubclass(CommandFailed, MachineError)


def test_a_hint_follows_the_message_on_its_own_line() -> None:
    """A caller that shows it can have it separately."""
    error = HarnessError("no space left in /var/tmp", hint="free 2 GiB")
    assert str(error) == "no space left in /var/tmp\nhint: free 2 GiB"
    assert (error.message, error.hint) == ("no space left in /var/tmp", "free 2 GiB")


def test_without_a_hint_there_is_only_the_message() -> None:
    """No empty hint."""
    assert str(HarnessError("no space left")) == "no space left"


def test_a_failed_command_says_where_what_how_long_and_why() -> None:
    """Machine, command that can be pasted, exit status, elapsed time, both streams, a way out."""
    assert str(failed).splitlines() == [
        "initiator: iscsiadm -m node -o 'a b'",
        "  exit status 21 after 0.2 s",
        "  stderr: iscsiadm: No records found",
        "hint: run the discovery first",
    ]


def test_a_failed_command_carries_its_facts_as_data() -> None:
    """No caller needs to parse the message."""
    assert (failed.machine, failed.status, failed.elapsed_s) == ("initiator", 21, 0.25)
    assert failed.argv == ("iscsiadm", "-m", "node", "-o", "a b")
    assert failed.stderr == "iscsiadm: No records found\n"


def test_a_command_that_was_killed_keeps_what_it_printed() -> None:
    """What it said before it hung is often the explanation."""
    error = CommandTimedOut(
        machine="target", argv=["targetcli"], stdout="/> ", stderr="", elapsed_s=30.04
    )
    assert str(error) == "target: targetcli\n  no end in time after 30.0 s\n  stdout: />"
    assert error.stdout == "/> "


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"])), min_size=1))
def test_a_described_command_can_be_pasted_into_a_shell(argv: list[str]) -> None:
    """Quoting gives back the same arguments."""
    first = describe_command("exit status 1", "m", argv, "", "", 1.0).splitlines()[0]
    assert shlex.split(first.removeprefix("m: ")) == argv


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_long_output_is_cut_to_its_last_lines(out: int, err: int) -> None:
    """Twenty lines of each stream: the end is where the reason stands."""
    stdout = "".join(f"out {number}\n" for number in range(out))
    stderr = "".join(f"err {number}\n" for number in range(err))
    lines = describe_command("exit status 1", "m", ["x"], stdout, stderr, 1.0).splitlines()
    assert len(lines) == 2 + min(out, 20) + min(err, 20)
    if out:
        assert f"  stdout: out {out - 1}" in lines
    if err:
        assert lines[-1] == f"  stderr: err {err - 1}"


def test_the_cure_of_several_failures_is_told_once() -> None:
    """Two machines may fail for one cause."""
    same = [HarnessError(name, hint="./bootstrap") for name in ("target", "initiator")]
    assert cure(ExceptionGroup("", [*same, OSError("x"), HarnessError("y")])) == "./bootstrap"
    assert cure(ExceptionGroup("", [*same, HarnessError("z", hint="reboot")])) == (
        "./bootstrap; reboot"
    )


def test_several_failures_of_the_lab_are_one_failure_of_the_lab() -> None:
    """Caught as any other; each cause is told, a cure that they share once."""
    both = as_one([TimedOut("no map", hint="look"), MachineError("no answer", hint="look")])
    assert isinstance(both, HarnessError)
    assert (both.message, both.hint) == ("no map\nno answer", "look")
    assert str(both) == "no map\nno answer\nhint: look"
    assert summary(both) == "no map; no answer"


def test_what_is_left_of_several_failures_is_still_of_the_lab() -> None:
    """`except*` splits groups so."""
    several: Any = SeveralFailed([TimedOut("a"), MachineError("b"), MachineError("c", hint="d")])
    timeouts, others = several.split(TimedOut)
    assert isinstance(timeouts, HarnessError)
    assert isinstance(others, HarnessError)
    assert (timeouts.message, others.message, others.hint) == ("a", "b\nc", "d")


@pytest.mark.parametrize(
    "other", [TypeError("x"), VerdictFailed("lost data"), OSError("full"), KeyboardInterrupt()]
)
def test_a_group_with_anything_else_in_it_is_no_failure_of_the_lab(other: BaseException) -> None:
    """Also deep inside: nothing that catches HarnessError catches it."""
    group = as_one([HarnessError("a"), as_one([HarnessError("b"), other])])
    assert not isinstance(group, HarnessError)


def test_one_failure_stays_what_it_is() -> None:
    error = TypeError("x")
    assert as_one([error]) is error


def test_a_programming_error_is_known_at_any_depth() -> None:
    error = TypeError("x")
    assert defects(error) == [error]
    assert defects(ExceptionGroup("", [TimedOut("a"), ExceptionGroup("", [error])])) == [error]
    for known in (TimedOut("a"), VerdictFailed("b"), OSError("c"), KeyboardInterrupt()):
        assert defects(known) == []


def cleaning_up_after(error: Exception, failure: Exception) -> Exception:
    """What comes out if `failure` comes up in the clean-up after `error`."""

    def fail() -> None:
        try:
            raise error
        finally:
            raise failure

    with pytest.raises(type(failure)) as raised:
        fail()
    return raised.value


def test_a_programming_error_is_not_hidden_by_a_clean_up_that_fails() -> None:
    error = TypeError("x")
    assert defects(cleaning_up_after(error, TimedOut("no answer"))) == [error]
    group = ExceptionGroup("", [cleaning_up_after(error, TimedOut("no answer"))])
    assert defects(group) == [error]


def test_what_an_error_was_made_from_is_no_programming_error() -> None:
    """A parser catches ValueError and says what is wrong with the text."""

    def parse() -> None:
        try:
            int("x")
        except ValueError as error:
            raise TimedOut("no number") from error

    with pytest.raises(TimedOut) as raised:
        parse()
    assert defects(raised.value) == []


def test_an_unforeseen_error_is_told_with_its_type() -> None:
    """`'wwid'` alone tells nothing."""
    assert summary(KeyError("wwid")) == "KeyError: 'wwid'"
    assert summary(ZeroDivisionError()) == "ZeroDivisionError"
    assert summary(OSError("disk full")) == "disk full"
