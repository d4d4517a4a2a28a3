"""Commands of the user's own, run on this host: what they said is evidence, and proves nothing."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, FaultError, MachineError, describe_command
from harness.faults.base import SAMPLE_TIMEOUT_S
from harness.machine import LocalMachine
from harness.machine.base import Completed
from harness.steps import attach

# In the environment of each command; by its value those are found that a killed run has left.
MARK = "PATHPROOF_CALLOUT"
_ASK_AGAIN_S = 1.0
_LEAST_S = 1.0  # for a last answer
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class OwnCommand:
    """A command: of which fault, what it is to do, such as "heal", and how it is run."""

    fault: str
    what: str
    argv: tuple[str, ...]
    timeout_s: float
    folder: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.what}"

    def require_program(self) -> None:
        """Raises FaultError if it cannot be started here, as its folder or program is missing."""
        folder, program = Path(self.folder), self.argv[0]
        if not folder.is_dir():
            raise FaultError(f"{self}: there is no folder {folder} on this host to run it in")
        if shutil.which(folder / program if "/" in program else program) is None:
            raise FaultError(
                f"{self}: there is no program {program} on this host",
                hint=f"it is looked for in PATH; one with a / in its name, in {folder}",
            )

    def succeed(self, mark: str) -> None:
        """Run it once. Raises FaultError unless it ends in time with exit status 0."""
        done = self._run(mark, self.timeout_s)
        self._attach(done)
        if done.status != 0:
            raise FaultError(f"{self}: {_outcome(done)}\n{self._described(done)}")

    def wait_for_success(self, mark: str) -> None:
        """Run it again and again until its exit status is 0.

        Raises TimedOut with its last answer; FaultError if it does not end, or cannot begin.
        """
        deadline = Deadline.after(self.timeout_s)
        last: list[Completed] = []

        def succeeded() -> bool:
            done = self._run(mark, max(deadline.remaining_s, _LEAST_S))
            last[:] = [done]
            return done.status == 0

        try:
            poll(
                succeeded,
                what=f"{self}, with exit status 0",
                deadline=deadline,
                every_s=_ASK_AGAIN_S,
                last_seen=lambda: _outcome(last[0]),
                hint=self._more_time,
            )
        finally:
            for done in last:
                self._attach(done)

    def number(self, mark: str) -> int:
        """The last whole number that it prints. Raises FaultError if there is none, or it fails."""
        done = self._run(mark, SAMPLE_TIMEOUT_S)
        if done.status != 0:
            raise FaultError(f"{self}: {_outcome(done)}")
        numbers = _NUMBER.findall(done.stdout)
        if not numbers:
            raise FaultError(f"{self} prints no number, but {done.stdout[-80:]!r}")
        return int(numbers[-1])

    def _run(self, mark: str, timeout_s: float) -> Completed:
        self.require_program()
        machine = LocalMachine(folder=Path(self.folder), environment={MARK: mark})
        try:
            return machine.run(self.argv, timeout_s=timeout_s, check=False)
        except CommandTimedOut as error:
            raise FaultError(
                f"{self}: no end within {timeout_s:g} s, so it was ended\n{error.message}",
                hint=self._more_time,
            ) from None
        except MachineError as error:
            raise FaultError(f"{self}: {error.message}", hint=error.hint) from None

    @property
    def _more_time(self) -> str:
        return f"{self.what}_timeout_s gives it more time"

    def _attach(self, done: Completed) -> None:
        attach(str(self), self._described(done))

    def _described(self, done: Completed) -> str:
        return describe_command(
            *(f"exit status {done.status}", "this host", done.argv),
            *(done.stdout, done.stderr, done.elapsed_s),
        )


def _outcome(done: Completed) -> str:
    """How it ended, and the last line that it said: on standard error, if there is one."""
    ended = f"exit status {done.status}" if done.status >= 0 else f"ended by signal {-done.status}"
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"{ended}: {lines[-1].strip()}" if lines else ended
