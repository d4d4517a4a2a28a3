"""What tells why I/O hangs: from inside the machines as far as they answer, and from outside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from harness.concurrency import side_by_side, within
from harness.deadline import Deadline, poll
from harness.errors import HarnessError, TimedOut, defects
from harness.machine import Machine
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import called

_ANSWER_S = 2.0  # a machine that does not answer by then is asked over its keyboard
_KEYS = "9wl"  # say everything on the console; blocked tasks; what each processor does
_LAST_LINE = "Show backtrace of all active CPUs"

# The same by root's own hand. Kept off the console: printed there, it stopped an emulated machine
# for 1.5 s, while I/O went on and was measured.
SYSRQ_SCRIPT = """
level=$(cut -f 1 /proc/sys/kernel/printk)
trap 'echo "$level" >/proc/sys/kernel/printk' EXIT
echo 1 >/proc/sys/kernel/printk
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
    items: dict[str, Callable[[], str]] = {}
    for name, initiator in testbed.initiators.items():
        which = f" of {called(name)}" if len(testbed.initiators) > 1 else ""
        items[f"{name} blocked tasks"] = _asking(testbed.machine(name), TASKS_SCRIPT, timeout_s)
        of_sessions = initiator.hang_evidence(timeout_s)
        items |= {f"{title}{which}": ask for title, ask in of_sessions.items()}
    for one in testbed.maps:
        which = f" of {one.planned.name}" if len(testbed.maps) > 1 else ""
        of_map = one.attachment.hang_evidence(timeout_s)
        items |= {f"{title}{which}": ask for title, ask in of_map.items()}
    for name in testbed.machines:
        items |= _outside(testbed, name, timeout_s)
    texts = side_by_side(
        *((lambda n=name, a=action: _text(n, a, timeout_s)) for name, action in items.items())
    )
    return dict(zip(items, texts, strict=True))


def _asking(machine: Machine, script: str, timeout_s: float) -> Callable[[], str]:
    return lambda: machine.sh(script, timeout_s=timeout_s).stdout


def _outside(testbed: MeasuredTestbed, name: str, timeout_s: float) -> dict[str, Callable[[], str]]:
    """What can be had of a machine that may not answer, too."""
    return {
        f"{name} kernel stacks": lambda: _kernel_stacks(testbed, name, timeout_s),
        f"{name} kernel log": lambda: "\n".join(testbed.observer(name).kernel_texts),
        f"{name} console": lambda: testbed.console(name),
        f"{name} virtual machine": lambda: testbed.domain(name).describe(),
    }


def _kernel_stacks(testbed: MeasuredTestbed, name: str, timeout_s: float) -> str:
    if testbed.observer(name).answers(_ANSWER_S):
        return testbed.machine(name).sh(SYSRQ_SCRIPT, timeout_s=timeout_s).stdout
    testbed.domain(name).press_sysrq(_KEYS)
    with suppress(TimedOut):
        poll(
            lambda: _LAST_LINE in testbed.console(name),
            what="an answer to the keyboard",
            deadline=Deadline.after(timeout_s / 2),
        )
    return f"asked over the keyboard, its console ends:\n{testbed.console(name)}"


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
