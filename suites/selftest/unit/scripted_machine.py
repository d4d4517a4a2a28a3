"""A machine that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import CommandFailed
from harness.machine import Completed, Machine, Process


@dataclass(frozen=True)
class Asked:
    """One command as it reached the machine."""

    argv: tuple[str, ...]
    stdin: bytes


@dataclass(frozen=True)
class Answer:
    stdout: str = ""
    stderr: str = ""
    status: int = 0


class ScriptedMachine(Machine):
    """Each command ends at once with what `answer` makes of it, by default with success."""

    def __init__(self, answer: Callable[[Asked], Answer] = lambda _: Answer()) -> None:
        super().__init__("scripted")
        self._answer = answer
        self.asked: list[Asked] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 0,
        check: bool = True,
        stdin: bytes = b"",
    ) -> Completed:
        asked = Asked(tuple(argv), stdin)
        self.asked.append(asked)
        answer = self._answer(asked)
        if check and answer.status != 0:
            raise CommandFailed(
                machine=self.name,
                argv=argv,
                status=answer.status,
                stdout=answer.stdout,
                stderr=answer.stderr,
                elapsed_s=0,
            )
        return Completed(
            asked.argv, answer.status, answer.stdout.encode(), answer.stderr.encode(), 0
        )

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""
