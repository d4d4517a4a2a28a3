"""A libvirtd as a distribution starts it, in namespaces of its own.

All of its settings are libvirt's own: /etc/libvirt is empty, which is what Debian's files come to,
whose lines are comments. Networks, processes and libvirt's folders are private; the home folder,
/var/tmp and the images are those of this host. When the first process dies, the kernel ends all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.deadline import Deadline, poll
from suites.selftest import needs

TOP = Path(harness.__file__).parent.parent
URI = "qemu:///system"
NETWORKS = ("a", "b")
_PROGRAMS = {"libvirtd": "libvirt-daemon", "virtlogd": "libvirt-daemon", "iptables": "iptables"}

# /sys shows the network devices of the namespace it was mounted in; libvirt wants cgroups below it.
# /dev/kvm is as udev's rules have it, whatever this host made of it. The last process waits for all
# orphans, as process 1 does on a machine.
_INIT = """
mount --make-rprivate /
ip link set lo up
for folder in /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt; do
    mkdir -p "$folder"
    mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount --lazy /run/cgroup
if test -e /dev/kvm; then
    mknod -m 660 /run/kvm c 10 232
    chgrp kvm /run/kvm
    mount --bind /run/kvm /dev/kvm
fi
virtlogd --daemon
libvirtd --daemon
exec "$@"
"""
_REAPER = """
import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.2)
"""
_INSIDE = 'cd "$1"; shift; exec "$@"'


def missing() -> str:
    """Why there can be none here; empty if there can be."""
    absent = [program for program in _PROGRAMS if shutil.which(program, path=_path()) is None]
    if absent:
        return f"needs {absent[0]} (Debian: {_PROGRAMS[absent[0]]})"
    return needs.no_namespaces()


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class StockLibvirt:
    """`init` is the first process in there, as this host counts it."""

    init: int
    environment: Mapping[str, str]

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` in there, in this checkout."""
        entered = ["nsenter", f"--target={self.init}", "--net", "--mount", "--pid"]
        return [*entered, "--", "sh", "-euc", _INSIDE, "sh", str(TOP), *argv]

    def run(self, *argv: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with both streams in one."""
        return subprocess.run(
            self.argv(argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self.environment,
        )

    def virsh(self, *words: str) -> str:
        done = self.run("virsh", "--quiet", "--connect", URI, *words)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def make_networks(self, folder: Path) -> None:
        """Isolated networks `data-a` and `data-b`, and bridges `br-a` and `br-b`."""
        for name in NETWORKS:
            file = folder / f"data-{name}.xml"
            file.write_text(
                f"<network><name>data-{name}</name><bridge name='virbr-{name}'/></network>"
            )
            self.virsh("net-define", str(file))
            self.virsh("net-start", f"data-{name}")
            for command in (f"ip link add br-{name} type bridge", f"ip link set br-{name} up"):
                done = self.run(*command.split())
                assert done.returncode == 0, done.stdout


@contextmanager
def stock_libvirt(state: Path) -> Iterator[StockLibvirt]:
    """A libvirtd that answers, gone at the end of the block; testbeds are in the folder `state`."""
    environment = os.environ | {
        "PATH": _path(),
        "PATHPROOF_STATE": str(state),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")])),
    }
    argv = [
        *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-euc", _INIT, "sh", sys.executable, "-c", _REAPER),
    ]
    with subprocess.Popen(argv, env=environment) as outer:
        try:
            stock = StockLibvirt(_only_child(outer.pid), environment)

            def answers() -> bool:
                assert outer.poll() is None, "it ended at once"
                return stock.run("virsh", "--connect", URI, "version").returncode == 0

            poll(answers, what=f"{URI} answers", deadline=Deadline.after(60), every_s=0.5)
            yield stock
        finally:
            outer.kill()  # and with it, by --kill-child, the first process in there


def _only_child(pid: int) -> int:
    file = Path(f"/proc/{pid}/task/{pid}/children")
    poll(
        lambda: bool(file.read_text().split()),
        what="unshare starts a process",
        deadline=Deadline.after(10),
    )
    return int(file.read_text().split()[0])
