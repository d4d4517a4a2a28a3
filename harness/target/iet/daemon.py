"""ietd(8): started, stopped, and looked at.

Its exit status says nothing: the parent is gone before the daemon has read its configuration, and
a daemon that could not bind its port runs on without one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import TargetError
from harness.target.iet import proc

PID_FILE = "/var/run/ietd.pid"  # it stays behind

# Sets $pid to that of the daemon, or to nothing.
_FIND = f"""\
pid=$(cat {PID_FILE} 2>/dev/null) || pid=
[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = ietd ] || pid=
"""

REQUIRE_SCRIPT = """\
for tool in ietd ietadm; do
    command -v $tool >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
modprobe iscsi_trgt
"""

STOP_SCRIPT = f"""\
{_FIND}[ "$pid" ] || exit 0
kill "$pid"
while [ -e "/proc/$pid" ]; do sleep 0.1; done
"""

# What they say of a start that failed; they name no secrets.
LOG_SCRIPT = """\
journalctl --quiet --boot --identifier=ietd --lines=10 --output=cat --no-pager
dmesg --notime | grep iscsi_trgt | tail -n 10
"""

_LISTENER = re.compile(
    r'LISTEN\s+\d+\s+\d+\s+(?P<address>\S+):\d+\s+\S+\s*(users:\(\("(?P<program>[^"]+)".*)?'
)


@dataclass(frozen=True)
class Listener:
    """Who listens at an address; 0.0.0.0 is every address of IPv4."""

    address: str
    program: str


@dataclass(frozen=True)
class Daemon:
    """What of ietd can be seen from outside: its pid if it runs, its port, what it serves."""

    pid: int | None
    listeners: tuple[Listener, ...]
    targets: tuple[proc.ServedTarget, ...]

    @property
    def is_ready(self) -> bool:
        """Whether it listens, which it does only after it has read its configuration."""
        return self.pid is not None and Listener("0.0.0.0", "ietd") in self.listeners  # noqa: S104  # told, not bound

    def __str__(self) -> str:
        state = "does not run" if self.pid is None else f"runs (pid {self.pid})"
        held = sorted({listener.program for listener in self.listeners} - {"ietd"})
        return f"ietd {state}" + (f"; its port is held by {', '.join(held)}" if held else "")


def start_argv(port: int) -> list[str]:
    """Start ietd on every address: it takes one or all. It puts itself in the background."""
    return ["ietd", f"--port={port}"]


def look_script(port: int) -> str:
    """Prints what `parse_look` reads."""
    return (
        f'{_FIND}echo "$pid"\n'
        f"ss --no-header --listening --tcp --numeric --processes 'sport = :{port}'\n"
        f"echo\ncat {proc.VOLUMES}\n"
    )


def parse_look(text: str) -> Daemon:
    """The state that `look_script` prints: a pid, lines of ss(8), an empty line, what is served.

    Real line: `LISTEN 0  32  0.0.0.0:3260  0.0.0.0:*  users:(("ietd",pid=457,fd=7))`
    """
    head, separator, volumes = text.partition("\n\n")
    pid, *listening = head.splitlines() or [""]
    if not separator or not re.fullmatch(r"\d*", pid):
        raise TargetError(f"ietd cannot be looked at: {text!r}")
    matches = [match for line in listening if (match := _LISTENER.fullmatch(line))]
    return Daemon(
        pid=int(pid) if pid else None,
        listeners=tuple(
            Listener(match["address"], match["program"] or "the kernel") for match in matches
        ),
        targets=tuple(proc.parse_volumes(volumes)),
    )
