"""What tells why I/O hangs: from inside the machines as far as they answer, and from outside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from harness.concurrency import side_by_side, within
from harness.deadline import Deadline, poll
from harness.errors import HarnessError, TimedOut, defects
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import Role

_ANSWER_S = 2.0  # a machine that does not answer by then is asked over its keyboard
_KEYS = "9wl"  # say everything on the console; blocked tasks; what each processor does
_LAST_LINE = "Show backtrace of all active CPUs"

# The same by root's own hand, which needs no console.
_SYSRQ_SCRIPT = """
echo w >/proc/sysrq-trigger
echo l >/proc/sysrq-trigger
dmesg | tail -n 400
"""

# Every task that cannot be killed now, and every thread of fio, with its stack in the kernel.
# The shell reads by itself: under emulation each `cat` takes 20 ms.
TASKS_SCRIPT = r"""
for task in /proc/[0-9]*/task/[0-9]*; do
  { IFS= read -r line <"$task/stat"; } 2>/dev/null || continue
  after=${line##*) }
  case $line in
    *") D "* | *"(fio"*)
      echo "${line%") $after"}) ${after%% *}"
      cat "$task/stack" 2>/dev/null || : ;;
  esac
done
"""


def gather(testbed: MeasuredTestbed, timeout_s: float) -> dict[str, str]:
    """Everything at once, by name; what cannot be had within `timeout_s` says why instead."""
    initiator = testbed.machine(Role.INITIATOR)
    items: dict[str, Callable[[], str]] = {
        "initiator blocked tasks": lambda: initiator.sh(TASKS_SCRIPT, timeout_s=timeout_s).stdout,
        **testbed.initiator.hang_evidence(timeout_s),
    }
    for one in testbed.maps:
        which = f" of {one.lun}" if len(testbed.maps) > 1 else ""
        of_map = one.attachment.hang_evidence(timeout_s)
        items |= {f"{title}{which}": ask for title, ask in of_map.items()}
    for role in testbed.roles:
        items |= _outside(testbed, role, timeout_s)
    texts = side_by_side(
        *((lambda n=name, a=action: _text(n, a, timeout_s)) for name, action in items.items())
    )
    return dict(zip(items, texts, strict=True))


def _outside(
    testbed: MeasuredTestbed, role: Role, timeout_s: float
) -> dict[str, Callable[[], str]]:
    """What can be had of a machine that may not answer, too."""
    return {
        f"{role} kernel stacks": lambda: _kernel_stacks(testbed, role, timeout_s),
        f"{role} kernel log": lambda: "\n".join(testbed.observer(role).kernel_texts),
        f"{role} console": lambda: testbed.console(role),
        f"{role} virtual machine": lambda: testbed.domain(role).describe(),
    }


def _kernel_stacks(testbed: MeasuredTestbed, role: Role, timeout_s: float) -> str:
    if testbed.observer(role).answers(_ANSWER_S):
        return testbed.machine(role).sh(_SYSRQ_SCRIPT, timeout_s=timeout_s).stdout
    testbed.domain(role).press_sysrq(_KEYS)
    with suppress(TimedOut):
        poll(
            lambda: _LAST_LINE in testbed.console(role),
            what="an answer to the keyboard",
            deadline=Deadline.after(timeout_s / 2),
        )
    return f"asked over the keyboard, its console ends:\n{testbed.console(role)}"


def _text(name: str, action: Callable[[], str], timeout_s: float) -> str:
    try:
        return within(timeout_s, lambda: _told(action), what=name)
    except TimedOut as error:
        return f"not to be had: {error}"


def _told(action: Callable[[], str]) -> str:
    """What the action says, or which error of the lab it met."""
    try:
        return action()
    except HarnessError as error:
        if defects(error):
            raise
        return f"not to be had: {error}"
