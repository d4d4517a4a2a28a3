"""What can go wrong, in two families that must never be confused.

`HarnessError`: the lab broke, or could not see. Nothing is said about the storage.
`VerdictFailed`: the storage broke its promise. It is an `AssertionError`, so pytest
reports a failure, not an error.

All else, except an `OSError`, is a programming error: it is never retried and never taken for a
broken lab, also where it is in a group or was hidden by a clean-up that failed after it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from harness.typed import as_typed


class HarnessError(Exception):
    """The lab broke: `message` names the culprit, `hint` a way out (may be empty)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The hint has commands as the reader has to type them."""
        return f"{self.message}\nhint: {as_typed(self.hint)}" if self.hint else self.message


class SeveralFailed(HarnessError, ExceptionGroup[HarnessError]):
    """Several things of the lab broke at once.

    A HarnessError itself, so that `except HarnessError` needs no mention of groups. A group with
    a programming error in it is another type, which nothing catches.
    """

    def __new__(cls, failures: Sequence[HarnessError]) -> Self:
        return super().__new__(cls, "\n".join(one.message for one in failures), failures)

    def __init__(self, failures: Sequence[HarnessError]) -> None:
        self.hint = "; ".join(dict.fromkeys(one.hint for one in failures if one.hint))

    def derive(self, failures: Sequence[HarnessError]) -> SeveralFailed:  # type: ignore[override]  # all in it are of the lab
        return SeveralFailed(failures)


def as_one(failures: Sequence[BaseException]) -> BaseException:
    """One failure as it is; several as a group, which is a HarnessError if all of them are."""
    if len(failures) == 1:
        return failures[0]
    of_the_lab = [one for one in failures if isinstance(one, HarnessError)]
    if len(of_the_lab) == len(failures):
        return SeveralFailed(of_the_lab)
    return BaseExceptionGroup("several things failed at once", failures)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The error itself; of a group each error in it, at any depth."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def with_hidden(error: BaseException) -> Iterator[BaseException]:
    """What `leaves` yields, and what that hides.

    An error hides what it came after in a clean-up. It does not hide what it was raised from:
    `raise … from error` translates.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        for one in leaves(waiting.pop()):
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            if one.__context__ is not None and not one.__suppress_context__:
                waiting.append(one.__context__)


def defects(error: BaseException, *, beyond: BaseException | None = None) -> list[Exception]:
    """The programming errors in an error, and those that it hides.

    Those in `beyond` are left out: an error of a clean-up hides the one that led to the clean-up,
    which is raised again when the clean-up is over.
    """
    known = set() if beyond is None else set(map(id, with_hidden(beyond)))
    return [
        one
        for one in with_hidden(error)
        if id(one) not in known
        and isinstance(one, Exception)
        and not isinstance(one, HarnessError | VerdictFailed | OSError)
    ]


def summary(error: BaseException) -> str:
    """What an error says, in one line; of a group what each of them says."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(summary(one) for one in error.exceptions)
    said = next(iter(str(error).splitlines()), "")
    if said and isinstance(error, HarnessError | VerdictFailed | OSError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def cure(error: BaseException) -> str:
    """What helps against an error; of a group what helps against each of them, once."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(filter(None, map(cure, error.exceptions))))
    return error.hint if isinstance(error, HarnessError) else ""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the lab, and what to do about it."""

    cause: str
    cure: str

    def __str__(self) -> str:
        return f"{self.cause}\n  cure: {self.cure}"


class PreflightFailed(HarnessError):
    """The testbed is not fit to be written to; nothing was."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"preflight: {problem}" for problem in self.problems))


class ConfigError(HarnessError):
    """What the user asked for is impossible or contradictory; nothing was touched."""


class ImageError(HarnessError):
    """A guest image could not be built or is not what it claims to be."""


class HypervisorError(HarnessError):
    """libvirt or QEMU refused, or did not answer."""


class MachineError(HarnessError):
    """A machine cannot be reached or lost its connection."""


class TargetError(HarnessError):
    """The target does not serve what the configuration asks for."""


class InitiatorError(HarnessError):
    """The initiator did not reach the wanted state, or does not tell it."""


class WorkloadError(HarnessError):
    """fio did not run as asked: it could not start, died, or did no I/O in some phase."""


class FioHangs(WorkloadError):
    """fio does not end: its I/O neither completes nor fails."""


class CutShort(HarnessError):
    """A stretch of I/O could not go on; what was measured until then is still judged.

    The lab is not to blame when fio gives up or a path does not come back: the checks say who is.
    """


class FaultError(HarnessError):
    """A fault could not be injected, confirmed or healed."""


class LabCannot(HarnessError):
    """This lab has no means for what a test asks for; the test is skipped with the message."""


class ReportError(HarnessError):
    """Results were written but the report could not be made from them."""


class TimedOut(HarnessError):
    """Something did not happen before its deadline; the message holds what was last seen."""


class BrokenTestbed(HarnessError):
    """An earlier failure of the lab made this testbed unusable; the message is its cause."""


class CouldNotTell(HarnessError):
    """A check could not see what it judges. Never a pass."""


class VerdictFailed(AssertionError):
    """The storage broke its promise; the message lists each failed check with its figures."""


class CommandFailed(MachineError):
    """A command ended with an unwanted exit status.

    `status` is the exit status; negative for the signal that ended it.
    """

    def __init__(
        self,
        *,
        machine: str,
        argv: Sequence[str],
        status: int,
        stdout: str,
        stderr: str,
        elapsed_s: float,
        hint: str = "",
    ) -> None:
        self.machine = machine
        self.argv = tuple(argv)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.elapsed_s = elapsed_s
        super().__init__(
            describe_command(f"exit status {status}", machine, argv, stdout, stderr, elapsed_s),
            hint=hint,
        )


class CommandTimedOut(TimedOut):
    """A command did not end in time and was killed; what it printed so far is kept."""

    def __init__(
        self,
        *,
        machine: str,
        argv: Sequence[str],
        stdout: str,
        stderr: str,
        elapsed_s: float,
    ) -> None:
        self.machine = machine
        self.argv = tuple(argv)
        self.stdout = stdout
        self.stderr = stderr
        self.elapsed_s = elapsed_s
        super().__init__(
            describe_command("no end in time", machine, argv, stdout, stderr, elapsed_s)
        )


def describe_command(
    outcome: str, machine: str, argv: Sequence[str], stdout: str, stderr: str, elapsed_s: float
) -> str:
    """Say on which machine which command had which outcome, with both streams."""
    lines = [f"{machine}: {shlex.join(argv)}", f"  {outcome} after {elapsed_s:.1f} s"]
    for name, text in (("stdout", stdout), ("stderr", stderr)):
        lines += [f"  {name}: {line}" for line in text.rstrip().splitlines()[-20:]]
    return "\n".join(lines)
