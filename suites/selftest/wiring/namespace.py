"""A network namespace of this host as a machine: a real kernel with NICs of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.machine import LocalMachine, Process

_KINDS = (("net", "net"), ("mount", "mnt"))


class Namespace(LocalMachine):
    """A network namespace, with a sysfs of its own; it lives as long as a process there."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name)
        self.pid = pid

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        there = [f"--{kind}=/proc/{self.pid}/ns/{file}" for kind, file in _KINDS]
        return super().start(["nsenter", *there, *argv], on_line=on_line)


@contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    """A new one, which has only a loopback; it ends with the block."""
    inside = "mount -t sysfs sysfs /sys && echo there && exec sleep 600"
    argv = ["unshare", "--net", "--mount", "sh", "-c", inside]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            yield Namespace(name, process.pid)
        finally:
            process.kill()
