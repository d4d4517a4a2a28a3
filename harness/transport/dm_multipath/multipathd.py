"""Orders to multipathd. Source: multipathd(8)."""

from __future__ import annotations

from harness.deadline import Deadline, poll
from harness.errors import InitiatorError
from harness.machine import Machine

_TOOL_TIMEOUT_S = 90.0
_ORDER_TIMEOUT_S = 60.0


def order(machine: Machine, *command: str) -> None:
    """Give an order, again as long as multipathd is too busy to take it.

    Then it says `timeout` and has not begun. It exits with 0 all the same. Up to 0.8 it says
    `fail` to `reconfigure` for that (cli_reconfigure() in multipathd/cli_handlers.c). Raises
    InitiatorError with any other answer than `ok`.
    """
    busy = {"timeout", "fail"} if command == ("reconfigure",) else {"timeout"}
    said = ""

    def taken() -> bool:
        nonlocal said
        answer = machine.run(["multipathd", *command], timeout_s=_TOOL_TIMEOUT_S, check=False)
        said = (answer.stdout or answer.stderr).strip()
        return said not in busy

    what = f"multipathd {' '.join(command)}"
    deadline = Deadline.after(_ORDER_TIMEOUT_S)
    poll(taken, what=what, deadline=deadline, every_s=0.5, last_seen=lambda: said)
    if said != "ok":
        raise InitiatorError(f"{what}: {said}")
