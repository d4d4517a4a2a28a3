"""Two runs at once with the same addresses on the same networks: both are right, one after another.

Each host is a network namespace with a bridge for each network of the testbed; a cable between two
bridges of one name makes them one. Each run has a home of its own, as those of two users have. It
takes root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness
from harness.deadline import Deadline, poll
from suites.selftest import needs
from suites.selftest.private_cache import make_private_cache

TOP = Path(harness.__file__).parent.parent
NETWORKS = "ab"
TEST = "suites/failover/test_path_loss.py::test_io_survives_a_loss[a-LinkDown]"
STARTED_S = 300.0
ENDED_S = 500.0
HOST = """
ip link set lo up
for name in a b; do
  ip link add br-$name type bridge
  ip link set br-$name up
done
"""

pytestmark = pytest.mark.skipif(bool(needs.no_namespaces()), reason=needs.ROOT_WITH_NAMESPACES)


@dataclass(frozen=True)
class Host:
    """A network namespace, by a process that lives in it."""

    pid: int

    def run(self, script: str) -> None:
        subprocess.run([*self.inside, "sh", "-euc", script], check=True)

    @property
    def inside(self) -> list[str]:
        """What runs a command there."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]


@contextmanager
def host() -> Iterator[Host]:
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo there; exec sleep 3600"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            made = Host(process.pid)
            made.run(HOST)
            yield made
        finally:
            process.kill()


def connect(one: Host, other: Host) -> None:
    """Make their bridges of the same name one network."""
    for name in NETWORKS:
        one.run(f"ip link add up-{name} type veth peer name down-{name} netns {other.pid}")
        one.run(f"ip link set up-{name} master br-{name} up")
        other.run(f"ip link set down-{name} master br-{name} up")


@dataclass
class Run:
    """A run of one test, with a home of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    state: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, pattern: str, seconds: float) -> None:
        """Until it says something, or has ended."""
        poll(
            lambda: re.search(pattern, self.said) or self.process.poll() is not None,
            what=pattern,
            deadline=Deadline.after(seconds),
            every_s=0.5,
            last_seen=lambda: self.said,
        )
        assert re.search(pattern, self.said)


@contextmanager
def run(home: Path, where: Host) -> Iterator[Run]:
    """Ended with the block as Ctrl-C would end it. libvirt's sockets need a short path."""
    home.mkdir()
    state = Path(tempfile.mkdtemp(prefix="pp-", dir="/var/tmp"))
    make_private_cache(home / "cache/pathproof")
    networks = "".join(
        f'[[networks]]\nname = "{name}"\nsubnet = "172.16.{n}.0/24"\nportals = ["172.16.{n}.1"]\n'
        f'initiator = "172.16.{n}.101"\nbridge = "br-{name}"\n'
        for n, name in enumerate(NETWORKS)
    )
    (home / "shared.toml").write_text(networks)
    log = home / "log"
    argv = [
        *(*where.inside, sys.executable, "-m", "pytest", TEST, "--no-report", "-rA"),
        *("--testbed", str(home / "shared.toml"), "-o", f"cache_dir={home}/pytest"),
    ]
    own = {
        "XDG_CACHE_HOME": str(home / "cache"),
        "PATHPROOF_STATE": str(state),
        "COLUMNS": "250",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, cwd=TOP, stdout=output, stderr=subprocess.STDOUT, env=os.environ | own
        )
    try:
        yield Run(process, log, state)
    finally:
        process.terminate()
        process.wait(120)
        shutil.rmtree(state)
        sys.stdout.write(f"\n--- {home.name}\n{log.read_text()}")


def both_pass(one: Run, other: Run) -> None:
    for each in (one, other):
        each.process.wait(ENDED_S)
        assert each.process.returncode == 0
        assert "1 passed" in each.said


def test_on_one_host_the_second_boots_nothing_until_its_turn(tmp_path: Path) -> None:
    """It says at once who has the addresses: which testbed, in which test, of whom, since when."""
    with ExitStack() as stack:
        where = stack.enter_context(host())
        first = stack.enter_context(run(tmp_path / "first", where))
        first.wait_for(r"Start the machines|Boot the|Wait until both", STARTED_S)
        second = stack.enter_context(run(tmp_path / "second", where))
        second.wait_for(
            rf"Wait for 172\.16\.0\.1(01)? on bridge br-a … held by pathproof-\w+ "
            rf"\({re.escape(TEST)}; pid {first.process.pid} of \w+; since [\d:]+\)",
            STARTED_S,
        )
        assert not list(second.state.glob("*/*.qcow2"))
        both_pass(first, second)


def test_between_hosts_the_second_learns_on_the_wire_for_whom_it_waits(tmp_path: Path) -> None:
    """No file and no lock is common to them; meanwhile the first loses a link, and passes."""
    with ExitStack() as stack:
        one, other = stack.enter_context(host()), stack.enter_context(host())
        connect(one, other)
        first = stack.enter_context(run(tmp_path / "first", one))
        second = stack.enter_context(run(tmp_path / "second", other))
        both_pass(first, second)
        waited = [
            re.search(
                r"Wait for addresses in use … 172\.16\.\d\.1(01)? is in use by (.*)", each.said
            )
            for each in (first, second)
        ]
        assert sum(map(bool, waited)) == 1, "one of them has to wait"
        (said,) = filter(None, waited)
        who = r"pathproof-\w+ \(.*; pid \d+ of \w+; since [\d:]+\) on "
        assert re.match(who, said[2])
